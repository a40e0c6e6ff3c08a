package rundir

import (
	"errors"

	"github.com/godlm/godlm/core/group"
	"github.com/godlm/godlm/core/proto"
)

// GroupsFile is where the agents note what must be known of group lock containers: a
// log of group.Notes.
type GroupsFile struct {
	log   log
	noted group.Notes
}

// noteRoom is the most that one record takes, in bytes.
const noteRoom = 1 << 10

// OpenGroups reads the file; the caller has the agent role. What an earlier boot of the
// machine has left is void. The functions are told of the file's descriptors, for a
// forked child to close.
func (d *Dir) OpenGroups(boot string, opened, closed func(fd int)) (*GroupsFile, error) {
	f := &GroupsFile{}
	f.log = log{dir: d, name: "groups", apply: f.noted.Apply, all: f.noted.All, opened: opened, closed: closed}
	if err := f.log.open(); err != nil {
		return nil, err
	}
	if f.noted.Since(boot) {
		if err := f.log.compact(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// Notes is what the file says, from now on too.
func (f *GroupsFile) Notes() *group.Notes { return &f.noted }

// Reserve makes certain that the disk has room for that many more records.
func (f *GroupsFile) Reserve(records int) error { return f.log.reserve(int64(records) * noteRoom) }

// Note appends records before it returns.
func (f *GroupsFile) Note(records []*proto.Msg) error { return f.log.add(records...) }

// Close lets go of the file.
func (f *GroupsFile) Close() error { return f.log.close() }
