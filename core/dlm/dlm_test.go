package dlm

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/godlm/godlm/core/mode"
)

// header reads the names with numbers of a C header: enumerators and macros.
func header(t *testing.T, path string) map[string]int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, re := range []*regexp.Regexp{
		regexp.MustCompile(`(?m)^\s*(G?O?DLM_\w+|GODLM_\w+)\s*=\s*(-?\w+)`),
		regexp.MustCompile(`(?m)^\s*#define\s+(G?O?DLM_\w+|GODLM_\w+)\s+\(?(?:\(dlm_status_t\))?\s*(-?[0-9]\w*)`),
	} {
		for _, m := range re.FindAllStringSubmatch(string(b), -1) {
			n, err := strconv.ParseInt(strings.TrimRight(m[2], "uU"), 0, 64)
			if err != nil {
				t.Fatalf("%s: %s = %s: %v", path, m[1], m[2], err)
			}
			out[m[1]] = n
		}
	}
	return out
}

// statuses are the names in the header of every status that core uses.
var statuses = map[string]Status{
	"SUCCESS": Success, "SYNCH": Synch, "SUCCVALNOTVALID": SuccValNotValid, "SYNCVALNOTVALID": SyncValNotValid,
	"ABORT": Abort, "ATTACHED": Attached, "BADPARAM": BadParam, "CANCEL": Cancel, "CANCELGRANT": CancelGrant,
	"CANCELWAIT": CancelWait, "CVTUNGRANT": CvtUngrant, "DEADLOCK": Deadlock, "EFAULT": EFault, "ENOENT": ENoEnt,
	"ENOSYS": ENoSys, "HASLOCKS": HasLocks, "INSFMEM": InsfMem, "INTR": Intr, "IVBUFLEN": IvBufLen,
	"IVLOCKID": IvLockID, "LKBUSY": LkBusy, "NOACCESS": NoAccess, "NOLOCKID": NoLockID, "NOTATTACHED": NotAttached,
	"NOTQUEUED": NotQueued, "PARNOTGRANT": ParNotGrant, "SUBLOCKS": SubLocks, "TIMEOUT": Timeout,
	"TOOMANYNS": TooManyNS, "UNEXPERR": UnexpErr, "PUBNS_DISALLOW": PubNSDisallow,
	"MORE_TO_RECOVER": MoreToRecover, "HASPROCS": HasProcs, "KILLFAIL": KillFail,
	"ATTACHEDGROUP": AttachedGroup, "NO_GROUP": NoGroup, "TOOMANYRD": TooManyRD, "IS_PR": IsPR, "NOT_PR": NotPR,
	"IVRDID": IvRDID, "PR_RD_MISMATCH": PRRDMismatch, "IVHNDL": IvHndl, "EALREADY": EAlready, "EINPROGRESS": EInProgress,
}

var flags = map[string]Flags{
	"USER": User, "GROUP": Group, "JOIN_SAME_OK": JoinSameOK, "NOQUEUE": NoQueue, "SYNCSTS": SyncSts,
	"NODLCKWT": NoDlckWt, "NODLCKBLK": NoDlckBlk, "EXPEDITE": Expedite, "QUECVT": QueCvt, "DEQALL": DeqAll,
	"INVVALBLK": InvValBlk, "CANCELWAITOK": CancelWaitOK, "VALB": ValB, "PERSIST": Persist,
	"GROUP_LOCK": GroupLock, "TXID_LOCAL": TxidLocal, "TXID_GLOBAL": TxidGlobal,
}

func TestNumbersOfTheHeader(t *testing.T) {
	h := header(t, "../../include/sys/dlm.h")
	for name, s := range statuses {
		if n, ok := h["DLM_"+name]; !ok || n != int64(s) {
			t.Errorf("DLM_%s is %d in the header (there: %v), %d in core", name, n, ok, s)
		}
	}
	for name, f := range flags {
		if n, ok := h["DLM_"+name]; !ok || n != int64(f) {
			t.Errorf("DLM_%s is %#x in the header (there: %v), %#x in core", name, n, ok, f)
		}
	}
	for m := mode.NL; m <= mode.EX; m++ {
		if n, ok := h["DLM_"+m.String()+"MODE"]; !ok || n != int64(m) {
			t.Errorf("DLM_%vMODE is %d in the header (there: %v), %d in core", m, n, ok, m)
		}
	}
	if h["DLM_NOMODE"] != int64(mode.None) {
		t.Errorf("DLM_NOMODE is %d", h["DLM_NOMODE"])
	}
	for name, n := range h {
		if n >= 1<<24 && strings.HasPrefix(name, "DLM_") {
			t.Errorf("%s = %#x is among core's own bits", name, n)
		}
	}
}

func TestNumbersOfGodlm(t *testing.T) {
	h := header(t, "../../include/godlm.h")
	if n, ok := h["GODLM_LOST"]; !ok || n != int64(Lost) {
		t.Errorf("GODLM_LOST is %d in the header (there: %v), %d in core", n, ok, Lost)
	}
}

// TestEveryNumberIsCompared keeps the tables above complete: it reads the
// constants from the package's text.
func TestEveryNumberIsCompared(t *testing.T) {
	b, err := os.ReadFile("dlm.go")
	if err != nil {
		t.Fatal(err)
	}
	n := len(regexp.MustCompile(`(?m)^\s+\w+\s+(Status|Flags)\s+=`).FindAllString(string(b), -1))
	// Pending, Unkept, HasBlocking, JoinPR, Guest and Expired are in no header; Lost is in another.
	if want := len(statuses) + len(flags) + 7; n != want {
		t.Errorf("dlm.go has %d constants, the tests compare %d", n, want)
	}
}
