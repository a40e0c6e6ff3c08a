// Package secure makes what two hosts say to each other private, and tells each that the
// other has the cluster's key. It turns bytes to send into bytes on the wire and back; it
// knows no socket, message or member, and never waits, so that whoever has the socket may
// be any thread.
//
// The opener says hello in clear: the protocol's version and the cluster's name, so that
// a host of another cluster or another version is told so. Then both run the Noise
// handshake NNpsk0 (fresh keys on both sides, proven by the shared key, over the hello as
// the prologue) and the opener confirms with an empty record. Nothing is accepted
// before: who replays what he has recorded never gets as far, since the keys are others.
//
//	hello  = "godlm" version(1) length(1) name
//	answer = 0 | 1 reason(1)             in clear: whether the hello is welcome
//	record = length(2, big endian) ciphertext of 16 to 65535 bytes
//
// The order on the wire: hello and the first handshake record; answer and the second
// one; the confirmation; then records of data in both directions.
package secure
