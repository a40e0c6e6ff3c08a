package godlm

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/godlm/godlm/core/dlm"
)

// Status is a dlm_status_t that is not a success. It is an error of its own, which
// errors.Is finds in what the functions of this package return.
type Status int32

// The statuses that Go programs can meet; the numbers are those of <sys/dlm.h> and
// <godlm.h>.
const (
	ErrAborted     = Status(dlm.Abort)        // the lock was given up while the request waited
	ErrBadParam    = Status(dlm.BadParam)     // an argument makes no sense here; the error says which
	ErrCanceled    = Status(dlm.Cancel)       // the context was done: errors.Is also finds its error
	ErrBusy        = Status(dlm.CvtUngrant)   // the lock's conversion under way is not answered yet
	ErrDeadlock    = Status(dlm.Deadlock)     // this request was chosen to end a deadlock
	ErrNoResource  = Status(dlm.ENoEnt)       // nobody has a lock on that name
	ErrNoSys       = Status(dlm.ENoSys)       // this program cannot join; the error says why
	ErrHasLocks    = Status(dlm.HasLocks)     // the domain has locks of this program
	ErrNoMemory    = Status(dlm.InsfMem)      // no space in the runtime directory
	ErrBadName     = Status(dlm.IvBufLen)     // a name has 1 to 64 bytes
	ErrUnlocked    = Status(dlm.IvLockID)     // the lock has been unlocked
	ErrNoAccess    = Status(dlm.NoAccess)     // not this user's namespace
	ErrNoLockID    = Status(dlm.NoLockID)     // too many locks
	ErrClosed      = Status(dlm.NotAttached)  // Close was called
	ErrNotQueued   = Status(dlm.NotQueued)    // with NoQueue: it would have to wait
	ErrParent      = Status(dlm.ParNotGrant)  // the lock above is not granted
	ErrSubLocks    = Status(dlm.SubLocks)     // there are still locks below it
	ErrTimeout     = Status(dlm.Timeout)      // the Timeout is over
	ErrDefect      = Status(dlm.UnexpErr)     // a defect of the lock manager
	ErrDomains     = Status(dlm.TooManyRD)    // too many recovery domains
	ErrPersistent  = Status(dlm.IsPR)         // the resource is persistent, which must be said
	ErrOrdinary    = Status(dlm.NotPR)        // the resource is not persistent
	ErrDomain      = Status(dlm.IvRDID)       // this program is not attached to the domain
	ErrOtherDomain = Status(dlm.PRRDMismatch) // the resource belongs to another domain
	ErrCollection  = Status(dlm.IvHndl)       // no such collection of this program
	ErrCollected   = Status(dlm.EAlready)     // this program has a collection open
	ErrRecovering  = Status(dlm.EInProgress)  // another program has a collection open
	ErrAttached    = Status(dlm.Attached)     // this program is attached to the domain already
	ErrPublic      = Status(dlm.PubNSDisallow)
	ErrLost        = Status(dlm.Lost) // all locks are lost, others may have them
)

// words are the name in C of each status, and what it means.
var words = map[Status][2]string{
	ErrAborted:     {"DLM_ABORT", "the lock was given up meanwhile"},
	ErrBadParam:    {"DLM_BADPARAM", "bad parameter"},
	ErrCanceled:    {"DLM_CANCEL", "canceled"},
	ErrBusy:        {"DLM_CVTUNGRANT", "a conversion of the lock is under way"},
	ErrDeadlock:    {"DLM_DEADLOCK", "deadlock"},
	ErrNoResource:  {"DLM_ENOENT", "nobody has a lock on it"},
	ErrNoSys:       {"DLM_ENOSYS", "cannot join"},
	ErrHasLocks:    {"DLM_HASLOCKS", "there are locks left"},
	ErrNoMemory:    {"DLM_INSFMEM", "no space left"},
	ErrBadName:     {"DLM_IVBUFLEN", "a name has 1 to 64 bytes"},
	ErrUnlocked:    {"DLM_IVLOCKID", "the lock has been unlocked"},
	ErrNoAccess:    {"DLM_NOACCESS", "the namespace is not for this user"},
	ErrNoLockID:    {"DLM_NOLOCKID", "too many locks"},
	ErrClosed:      {"DLM_NOTATTACHED", "closed"},
	ErrNotQueued:   {"DLM_NOTQUEUED", "it would have to wait"},
	ErrParent:      {"DLM_PARNOTGRANT", "the lock above is not granted"},
	ErrSubLocks:    {"DLM_SUBLOCKS", "there are locks below it"},
	ErrTimeout:     {"DLM_TIMEOUT", "not granted in time"},
	ErrDefect:      {"DLM_UNEXPERR", "unexpected error"},
	ErrDomains:     {"DLM_TOOMANYRD", "too many recovery domains"},
	ErrPersistent:  {"DLM_IS_PR", "the resource is persistent"},
	ErrOrdinary:    {"DLM_NOT_PR", "the resource is not persistent"},
	ErrDomain:      {"DLM_IVRDID", "not attached to the recovery domain"},
	ErrOtherDomain: {"DLM_PR_RD_MISMATCH", "the resource belongs to another recovery domain"},
	ErrCollection:  {"DLM_IVHNDL", "not the open collection of this program"},
	ErrCollected:   {"DLM_EALREADY", "this program has a collection open"},
	ErrRecovering:  {"DLM_EINPROGRESS", "another program has a collection open"},
	ErrAttached:    {"DLM_ATTACHED", "attached already"},
	ErrPublic:      {"DLM_PUBNS_DISALLOW", "the public namespace is switched off"},
	ErrLost:        {"GODLM_LOST", "all locks are lost"},
}

// Error implements error.
func (s Status) Error() string {
	if w, ok := words[s]; ok {
		return w[1]
	}
	return s.Name()
}

// Name is the status's name in C.
func (s Status) Name() string {
	if w, ok := words[s]; ok {
		return w[0]
	}
	return "status " + strconv.Itoa(int(s))
}

// Error is what a call has failed with.
type Error struct {
	Op     string // "lock", "convert", ...
	Name   string // of the resource, or what else it was about
	Status Status
	Err    error // more about it, or nil
}

// Error implements error.
func (e *Error) Error() string {
	s := "godlm: " + e.Op
	if e.Name != "" {
		s += " " + strconv.Quote(e.Name)
	}
	s += ": " + e.Status.Error()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the status and the reason.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Status}
	}
	return []error{e.Status, e.Err}
}

// StatusOf is the status in err: 0 for none.
func StatusOf(err error) Status {
	var s Status
	if errors.As(err, &s) {
		return s
	}
	return 0
}

// bad is a wrong argument.
func bad(op, name, format string, args ...any) error {
	return &Error{op, name, ErrBadParam, fmt.Errorf(format, args...)}
}
