// Package dlm holds the numbers of the C interface that core decides with:
// statuses and request flags, equal to those of include/sys/dlm.h (a test
// compares them). Nothing else belongs here.
package dlm

// Status is a dlm_status_t.
type Status int32

// Statuses that core produces; the numbers are the Tru64 header's (spec §3.1).
const (
	Success         Status = 0
	Synch           Status = 1
	SuccValNotValid Status = 2
	SyncValNotValid Status = 3
	MoreToRecover   Status = 4
	Abort           Status = 16
	Attached        Status = 17
	BadParam        Status = 18
	Cancel          Status = 19
	CancelGrant     Status = 20
	CancelWait      Status = 21
	CvtUngrant      Status = 22
	Deadlock        Status = 23
	EFault          Status = 24
	ENoEnt          Status = 25
	ENoSys          Status = 26
	HasLocks        Status = 27
	InsfMem         Status = 28
	Intr            Status = 29
	IvBufLen        Status = 30
	IvLockID        Status = 31
	LkBusy          Status = 32
	NoAccess        Status = 33
	NoLockID        Status = 34
	NotAttached     Status = 35
	NotQueued       Status = 36
	ParNotGrant     Status = 37
	SubLocks        Status = 39
	Timeout         Status = 40
	TooManyNS       Status = 41
	UnexpErr        Status = 42
	HasProcs        Status = 43
	KillFail        Status = 44
	AttachedGroup   Status = 45
	NoGroup         Status = 46
	TooManyRD       Status = 48
	IsPR            Status = 49
	NotPR           Status = 50
	IvRDID          Status = 51
	PRRDMismatch    Status = 52
	IvHndl          Status = 53
	EAlready        Status = 54
	EInProgress     Status = 55
	PubNSDisallow   Status = 56

	// Unkept never leaves the library: a persistent resource has to be remembered
	// first.
	Unkept Status = -2
	// Pending never leaves the library: the answer comes later, through
	// World.Complete.
	Pending Status = -1
	// Lost is GODLM_LOST of godlm.h: the cluster has declared this process
	// gone; every lock it held is lost (design §12).
	Lost Status = 100
)

// Flags is a dlm_flags_t, plus internal bits from 1<<24 up.
type Flags uint32

// Request flags (spec §3.3).
const (
	User         Flags = 0x1
	Group        Flags = 0x2
	JoinSameOK   Flags = 0x4
	NoQueue      Flags = 0x8
	SyncSts      Flags = 0x10
	NoDlckWt     Flags = 0x20
	NoDlckBlk    Flags = 0x40
	Expedite     Flags = 0x80
	QueCvt       Flags = 0x100
	DeqAll       Flags = 0x200
	InvValBlk    Flags = 0x400
	CancelWaitOK Flags = 0x800
	ValB         Flags = 0x1000
	Persist      Flags = 0x2000
	GroupLock    Flags = 0x4000
	TxidLocal    Flags = 0x8000
	TxidGlobal   Flags = 0x10000

	// HasBlocking: the lock has a blocking routine, so its master sends
	// notifications. It travels between processes and is never the caller's.
	HasBlocking Flags = 1 << 24
	// JoinPR: without DLM_PERSIST, a persistent resource is as good as another (D-65).
	JoinPR Flags = 1 << 26
	// Expired marks a cancel that a timeout caused.
	Expired Flags = 1 << 25
	// Guest: the request is a container's, which never masters a tree.
	Guest Flags = 1 << 27
)
