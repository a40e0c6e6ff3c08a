package proto

import "github.com/godlm/godlm/core/mode"

// Role is the side on which the sender of a message stands. A process opens one
// connection to each master whose locks it uses; requests and their answers
// travel there, in order.
type Role uint8

// The roles.
const (
	ToMaster Role = iota // from an owner of locks to their master
	ToOwner              // from a master to an owner
)

// Kind is the kind of a message.
type Kind uint8

// Owner to master.
const (
	KRequest   Kind = 1 + iota // Assign Root Lock Parent Name Mode Flags Hint Op Party Made Domain
	KConvert                   // Assign Root Lock Mode Flags Hint Made Op Value, Party: the lock's from now on (process 0: as it was)
	KUnlock                    // Assign Root Lock Flags Op Value
	KCancel                    // Assign Root Lock Flags Op
	KQuery                     // Assign Root Parent Name Op
	KBlame                     // Assign Root Proc Lock Op Search: what is that request waiting for?
	KWaits                     // Party Search: what does that party wait for, in your process?
	KVictim                    // Assign Root Proc Lock Op: refuse it, it would wait for ever
	KHeirKnown                 // Assign Root Proc Number: the answer to KHeir, of one that has told the directory of that number what it has
)

// Master to owner.
const (
	KGranted   Kind = 16 + iota // Assign Lock Op Mode Arrival Token Block
	KQueued                     // Assign Lock Op Arrival
	KRefused                    // Assign Lock Op Status
	KUnlocked                   // Assign Lock Op
	KCancelled                  // Assign Lock Op Status
	KBlocking                   // Assign Lock Mode Hint
	KNotMaster                  // Assign Root, Flags: GivenUp, Proc Number: who is, and its assignment, if the sender knows
	KHeir                       // Assign Root Proc: the tree is going to move there
	KInfo                       // Op Info
	KBlamed                     // Assign Proc Lock Op Search Obstacles
	KWaiting                    // Party Search Waits
)

// Process to agent.
const (
	KHello     Kind = 32 + iota // Text (liveness file), Proc (0 for a new process), Flags (protocol version)
	KLookup                     // Root, Flags: LookupOnly, Assign: given up by its master (0: none), Number: of the question
	KDrop                       // Root Assign
	KReport                     // View Root Number Locks, and a KLookup of that Number in one; Number 0: nothing is asked
	KReportEnd                  // View Number (of the KView)
	KInstalled                  // Root Assign, Flags: Arriving
	KKeep                       // Root Path Domain Number: remember a persistent resource
	KUnkeep                     // Root Path: forget it
	KDomain                     // Hint (a token) Flags (what) Text (name) Number
	KRoundDone                  // Domain Number Op (resources that are not valid and not of the collection)
	KGroup                      // Call: about a group lock container
	KMastered                   // View Root Assign: a tree is mastered here, to an agent that does not know
	KMove                       // Assign Proc Image: the sender's tree is to move there
	KStay                       // Root Assign: it is to stay, if it has not moved yet
	KWhere                      // Proc: on which host is it?
)

// Agent to process.
const (
	KWelcome       Kind = 48 + iota // Proc View Number (birth of the host)
	KView                           // View Procs Groups Dead Number Assign Obits, Flags: DirectoryLost, ViewNews
	KMaster                         // Root Proc Assign, Number: of the KLookup; Proc 0: nobody masters it
	KInstall                        // Image
	KActivate                       // Root Assign
	KDiscard                        // Root Assign: the installed tree has come too late
	KMoved                          // Root Assign (the receiver's) Proc Number: who masters the tree now, under which assignment; perhaps the receiver
	KKept                           // Root Path Domain Number Status, Flags: DomainInvalid; Number 0: is it there?
	KDomainDone                     // Hint (the token) Status Number
	KRound                          // Domain Number Flags (what)
	KReject                         // Text: why
	KGroupReply                     // Reply
	KGroupBlocking                  // Lock Mode Hint User
	KGroupDiscard                   // Lock: its undelivered notification is void
	KPlace                          // Proc Text: the address of its host, "" for this one
)

// First message on a connection between two processes.
const (
	KConnect Kind = 64 + iota // Proc, Flags (protocol version), View: of a container's connection, higher than that of any before; else 0
)

// What the agent notes of containers. These never travel.
const (
	KNoteGroup Kind = 72 + iota // NotedGroup
	KNoteLock                   // NotedLock
	KNoteCall                   // NotedCall
	KDropGroup                  // Proc
	KDropLock                   // Proc (the container) Lock
	KDropCall                   // Proc Number
	KNoteCount                  // Number: of the last container, Text: of the machine's boot
)

// Between the agents of two hosts. The one that has connected begins with KIntro, and
// the other answers with one.
const (
	KIntro     Kind = 80 + iota // Host Text (name) Number (of this agent, drawn by lot) Flags Data (address) Made (its lease)
	KRaft                       // Data: a message of the log of views
	KForward                    // Proc Data: a frame of that process for the coordinator
	KDeliver                    // Proc Data: a frame of the coordinator for that process, 0: for all that are connected; Flags: DeliverAgain
	KRoster                     // Epoch Birth Procs Groups Dead: the processes of the sender's host, and those whose journals follow
	KJoin                       // Epoch Number Flags (1: a container): a new process
	KJoined                     // Number (of KJoin) Proc View
	KDied                       // Proc: proven, Flags: DiedJournalLost, Op (pid) Text (program)
	KReached                    // Proc: it has connected to its agent
	KJournal                    // Proc Flags Procs (peers) Records: what a dead process has left
	KRetire                     // Proc Domain (a tree): its records are void
	KForget                     // Proc: nothing of it is needed any more
	KHome                       // Proc Host
	KEvict                      // Number Text (a host's name or number) Flags: EvictEnded; to the leader, or from the command to an agent
	KEvicted                    // Number Text (why not; "" if it is)
	KStatus                     // the command asks an agent
	KStatusIs                   // Data: JSON
	KLogEntry                   // Data
	KHostState                  // HostState
	KHostEntry                  // HostEntry
)

// Seeing what happens: the command to an agent, an agent to its processes and to other
// agents, and back.
const (
	KInspect Kind = 112 + iota // Number Inquiry
	KSeen                      // Number (of the KInspect) Sight
)

// JournalAll in the Flags of KJournal: anybody may be a peer.
const JournalAll = 1

// DeliverAgain in the Flags of KDeliver: the data are those of the last view that was
// delivered whole.
const DeliverAgain = 1

// DiedJournalLost in the Flags of KDied: no KJournal follows.
const DiedJournalLost = 1

// Flags of KIntro.
const (
	IntroFresh = 1 // it has nothing of the log of views
	IntroVoter = 2 // its configuration says that it votes
)

// EvictEnded in the Flags of KEvict: the programs of that host have ended.
const EvictEnded = 1

// LookupOnly in the Flags of KLookup: tell, but make nobody master.
const LookupOnly = 1

// GivenUp in the Flags of KNotMaster: the sender has given up what the directory
// may still name it for. Whoever is told relays it with the next KLookup.
const GivenUp = 1

// Flags of KView. Without ViewNews Procs and Groups are all that live; with it they are those
// that have joined since the view in Assign, and Dead those that have died: it is for who
// knows that view or a later one, and the directory of that Number. Obits are of who has
// died lately.
const (
	DirectoryLost = 1 // the directory of that Number knows nothing yet
	ViewNews      = 2
)

// Arriving in the Flags of KInstalled: the tree comes from its living master.
const Arriving = 1

// What is asked of a recovery domain in the Flags of KDomain and KRound (spec §12).
const (
	DomainAttach     = 1 + iota // also again, to a new agent; Number: the open collection
	DomainDetach                //
	DomainInvalidate            // detach, and mark everything in it not valid
	DomainCollect               // Number, in the answer: the collection
	DomainValidate              // Number: the collection
	DomainLeave                 // detach, whatever is open
	DomainRecovered             // of KRound only: the domain is valid again
)

// DomainInvalid in the Flags of KKept: the domain has been invalidated.
const DomainInvalid = 1

// HelloHosts in the Flags of KHello: its configuration has other hosts.
const HelloHosts = 1 << 16

// Version is the protocol version of KHello and KConnect.
const Version = 1

// Msg is any message; each kind uses the fields named beside it. Requests carry
// the assignment under which the sender believes the receiver to be master, and
// answers the assignment under which they were decided; assignments embed the
// directory's epoch and view, so they order messages as views do (design §7).
type Msg struct {
	Kind    Kind
	Mode    mode.Mode
	Flags   uint32
	Op      uint32
	Status  int32
	Assign  uint64
	View    uint64
	Hint    uint64
	Arrival uint64
	Token   uint64 // fencing token of a grant of PW or EX, with Assign; else 0
	Proc    ProcID
	Lock    LockID
	Parent  LockID
	Party   Party
	Search  uint32 // number of a search for deadlocks
	Made    int64  // when the request was made, on the clock of the owner's host
	Number  uint64 // of a collection
	Domain  Digest // a recovery domain; zero: none
	Root    Root
	Name    Name
	Value   Value
	Block   Block

	Text  string
	Procs []ProcID
	Locks []LockReport
	Image *Image
	Info  Info

	Path      []Name
	Obstacles []Obstacle
	Waits     []Wait

	Groups     []ProcID // containers among Procs
	User       User
	Call       *Call
	Reply      *Reply
	NotedGroup *NotedGroup
	NotedLock  *NotedLock
	NotedCall  *NotedCall

	Host      HostID
	Epoch     uint32
	Birth     uint32
	Dead      []ProcID
	Obits     []Obituary
	Data      []byte
	Records   []Record
	HostState *HostState
	HostEntry *HostEntry

	Inquiry *Inquiry
	Sight   *Sight
}
