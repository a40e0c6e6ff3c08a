package secure

import (
	"crypto/cipher"
	"encoding/binary"

	"github.com/flynn/noise"
	"golang.org/x/crypto/chacha20poly1305"
)

// chaChaPoly is noise.CipherChaChaPoly without an allocation for each record: its ciphers are
// used by one thread at a time, like the Session.
type chaChaPoly struct{}

var _ noise.CipherFunc = chaChaPoly{}

// CipherName implements noise.CipherFunc.
func (chaChaPoly) CipherName() string { return noise.CipherChaChaPoly.CipherName() }

// Cipher implements noise.CipherFunc.
func (chaChaPoly) Cipher(key [32]byte) noise.Cipher {
	a, err := chacha20poly1305.New(key[:])
	if err != nil {
		panic(err) // the key has the right size
	}
	return &aead{AEAD: a}
}

// aead numbers records as Noise says (revision 34, §12.3).
type aead struct {
	cipher.AEAD
	nonce [chacha20poly1305.NonceSize]byte // of the record at hand
}

func (c *aead) number(n uint64) []byte {
	binary.LittleEndian.PutUint64(c.nonce[4:], n)
	return c.nonce[:]
}

// Encrypt implements noise.Cipher.
func (c *aead) Encrypt(out []byte, n uint64, ad, plaintext []byte) []byte {
	return c.Seal(out, c.number(n), plaintext, ad)
}

// Decrypt implements noise.Cipher.
func (c *aead) Decrypt(out []byte, n uint64, ad, ciphertext []byte) ([]byte, error) {
	return c.Open(out, c.number(n), ciphertext, ad)
}
