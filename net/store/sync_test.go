package store

import (
	"os"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Before Save returns the disk has all of it, if there is another voter.
func TestSaveWaitsForTheDisk(t *testing.T) {
	defer func(was func(int) error) { datasync = was }(datasync)
	for _, sync := range []bool{true, false} {
		dir := t.TempDir()
		s, err := Open(dir, Options{Cluster: "default", Sync: sync})
		if err != nil {
			t.Fatal(err)
		}
		calls, size := 0, int64(0)
		datasync = func(fd int) error {
			calls++
			st, err := s.f.Stat()
			if err != nil || fd != int(s.f.Fd()) {
				t.Fatal(fd, err)
			}
			size = st.Size()
			return nil
		}
		for i := range uint64(3) {
			e := &raftpb.Entry{Term: proto.Uint64(1), Index: proto.Uint64(i + 1), Data: []byte("x")}
			if err := s.Save(&raftpb.HardState{Term: proto.Uint64(1), Vote: proto.Uint64(2), Commit: proto.Uint64(i)}, []*raftpb.Entry{e}, nil); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: int(i) + 1}[sync]; calls != want {
				t.Errorf("sync %v: the disk was awaited %d times, want %d", sync, calls, want)
			}
			if st, err := s.f.Stat(); err != nil || sync && st.Size() != size {
				t.Errorf("%d bytes are there, %d were when the disk was awaited: %v", st.Size(), size, err)
			}
		}
		// A disk that fails is told.
		datasync = func(int) error { return os.ErrInvalid }
		if err := s.Save(&raftpb.HardState{Term: proto.Uint64(2)}, nil, nil); (err != nil) != sync {
			t.Errorf("sync %v: %v", sync, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
