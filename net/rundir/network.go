package rundir

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// remote names file systems that other hosts may share, by magic number. Record
// locks and mappings of two hosts do not see each other there, or not in time.
// FUSE is among them since sshfs and others cannot be told apart.
var remote = map[int64]string{
	unix.NFS_SUPER_MAGIC:   "NFS",
	unix.SMB_SUPER_MAGIC:   "SMB",
	unix.CIFS_SUPER_MAGIC:  "CIFS",
	unix.SMB2_SUPER_MAGIC:  "SMB2",
	unix.NCP_SUPER_MAGIC:   "NCP",
	unix.AFS_SUPER_MAGIC:   "AFS",
	unix.AFS_FS_MAGIC:      "AFS",
	unix.CODA_SUPER_MAGIC:  "Coda",
	unix.CEPH_SUPER_MAGIC:  "Ceph",
	unix.OCFS2_SUPER_MAGIC: "OCFS2",
	unix.V9FS_MAGIC:        "9P",
	unix.FUSE_SUPER_MAGIC:  "FUSE",
	0x01161970:             "GFS2",
	0x0bd00bd0:             "Lustre",
	0x47504653:             "GPFS",
	0x19830326:             "BeeGFS",
	0xaad7aaea:             "PanFS",
	0x786f4256:             "vboxsf",
	0x6a656a62:             "shared folder",
}

// checkLocal refuses a network file system.
func checkLocal(fd int, path string) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", path, err)
	}
	return refuseRemote(int64(st.Type), path)
}

func refuseRemote(magic int64, path string) error {
	// Some numbers have the sign bit set on machines of 32 bits.
	if name, is := remote[magic&0xffffffff]; is {
		return fmt.Errorf("%s is on %s: %w: its locks do not tell who lives; set GODLM_DIR to a local one, such as /dev/shm/godlm-$USER",
			path, name, ErrNetwork)
	}
	return nil
}
