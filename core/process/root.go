package process

import (
	"sort"

	"github.com/godlm/godlm/core/dlm"
	"github.com/godlm/godlm/core/mode"
	"github.com/godlm/godlm/core/proto"
	"github.com/godlm/godlm/core/tree"
)

// where tells what the process knows of a tree's master.
type where uint8

const (
	unknown    where = iota // nothing; a lookup may be under way
	local                   // mastered here
	installing              // a rebuilt tree is here; the agent has yet to say go
	remote                  // mastered by root.master
	orphan                  // its master died; reported, and looked up again
	keeping                 // mastered here; nothing is decided until the agent has noted r.keep
	moving                  // mastered here; nothing is decided until the agent says whether it went to r.heir
)

// lookupKind tells which lookup is under way.
type lookupKind uint8

const (
	lookupNone  lookupKind = iota
	lookupOnly             // to ask about a resource: makes nobody master
	lookupToUse            // may make this process master
)

// root is what the process knows of one root resource.
type root struct {
	shard    *shard
	key      proto.Root
	where    where
	asked    lookupKind
	lookup   uint64 // number of the last question to the agent; only its answer counts
	master   proto.ProcID
	assign   uint64
	givenUp  uint64 // assignment that its master says it has given up
	tree     *tree.Tree
	foreign  foreign // locks of others in tree
	own      lockList
	ownCount int
	ops      uint64 // last operation number given
	used     bool   // since somebody looked whether it may sleep
	lent     bool   // see lend.go
	solo     uint8  // own requests in a row that were decided at once
	hurried  bool   // orphan: the agent knows that somebody waits for the tree
	wanted   uint8  // how often others are let on yet: see lookFirst
	answered bool   // another process was answered last, and does not wait
	sighted  uint32 // the Look that has seen it asleep
	queries  []*query
	held     []heldMsg    // requests of others that came before the tree did
	keepOp   uint64       // number of that question
	keep     *proto.Kept  // see keeping
	noKeep   proto.Digest // the agent could not note this one
	use      *usage       // of a tree mastered here that others use
	heir     proto.ProcID // the tree may have gone there; 0: no
	doubted  *doubted     // while it is not known whether the master still is
	sure     bool         // the master has spoken under this assignment
	arriving bool         // installing: the tree comes from its living master
	deadline int64        // moving: when to ask for it back
	next     *root
	prev     *root
}

// heldMsg is a request that waits until this process knows whether it is master.
type heldMsg struct {
	from proto.ProcID
	at   int64 // when it came
	msg  proto.Msg
}

type rootList struct{ head, tail *root }

func (s *shard) root(key *proto.Root) *root {
	if r := s.find(key); r != nil {
		return r
	}
	r := &root{shard: s, key: *key}
	s.link(r)
	s.idle++
	if s.idle > maxIdleRoots {
		s.forgetIdle()
	}
	return r
}

// link makes r one of the roots that are awake, the newest.
func (s *shard) link(r *root) {
	s.roots[r.key] = r
	r.prev = s.order.tail
	if r.prev == nil {
		s.order.head = r
	} else {
		r.prev.next = r
	}
	s.order.tail = r
}

// unlink undoes link.
func (s *shard) unlink(r *root) {
	delete(s.roots, r.key)
	if s.recent == r {
		s.recent = nil
	}
	if s.seen.root == r {
		s.seen.root = r.next
	}
	if s.asleep.hand == r {
		s.asleep.hand = r.next
	}
	if r.prev == nil {
		s.order.head = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		s.order.tail = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil // what is left of it must keep nothing else
}

// drop forgets a root without own locks.
func (s *shard) drop(r *root) {
	s.unlink(r)
	s.idle--
}

// quiet reports whether nothing here refers to the root.
func (r *root) quiet() bool {
	return r.ownCount == 0 && r.asked == lookupNone && len(r.held) == 0 && len(r.queries) == 0 &&
		(r.tree == nil || r.where == local && r.tree.Idle())
}

// forgetIdle drops the oldest roots that nobody refers to.
func (s *shard) forgetIdle() {
	for r := s.order.head; r != nil && s.idle > maxIdleRoots*3/4; {
		next := r.next
		if r.quiet() && r.where != orphan && next != nil { // the newest is about to be used
			if r.where == local {
				s.sendDrop(r, r.assign)
			}
			s.drop(r)
		}
		r = next
	}
}

func (s *shard) sendDrop(r *root, assign uint64) {
	m := s.compose(proto.KDrop)
	m.Root, m.Assign = r.key, assign
	s.p.world.SendAgent(m)
}

// compose starts a message in the shard's scratch space.
func (s *shard) compose(k proto.Kind) *proto.Msg {
	s.msg.Kind = k
	s.msg.Flags, s.msg.Op, s.msg.Status, s.msg.Lock, s.msg.Parent = 0, 0, 0, 0, 0
	return &s.msg
}

// pauses reports whether the tree is here and nothing is decided for now.
func (r *root) pauses() bool { return r.where == keeping || r.where == moving }

// find asks the directory for the root's master.
func (r *root) find(kind lookupKind) {
	if r.asked >= kind || r.pauses() {
		return
	}
	r.asked = kind
	r.sendLookup()
}

func (r *root) sendLookup() {
	if r.where == installing && r.tree != nil {
		// An agent that is new, and knows who is master from its directory only, would take the
		// question for the word that the tree is not here.
		r.sendInstalled()
	}
	m := r.shard.compose(proto.KLookup)
	m.Root, m.Assign = r.key, r.givenUp
	if r.asked == lookupOnly {
		m.Flags = proto.LookupOnly
	}
	m.Number = r.nextLookup()
	r.shard.p.world.SendAgent(m)
}

// nextLookup numbers a question.
func (r *root) nextLookup() uint64 {
	r.shard.lookups++
	r.lookup = r.shard.lookups
	return r.lookup
}

// hurry tells the agent that somebody waits for a tree that is being put together again:
// such trees come first.
func (r *root) hurry() {
	if r.where == orphan && r.asked == lookupToUse && !r.hurried {
		r.hurried = true
		r.sendLookup()
	}
}

// nextOp numbers an operation.
func (r *root) nextOp() uint64 {
	r.ops++
	return r.ops
}

// becomeLocal makes this process the master of a new, empty tree.
func (r *root) becomeLocal(assign uint64) {
	s := r.shard
	r.where, r.master, r.assign, r.heir = local, s.p.me, assign, 0
	r.tree = tree.New(&r.key, assign, s.p.me, r, s.p.journal)
	r.resume(0)
}

// becomeRemote notes the master and repeats to it what it has not answered.
func (r *root) becomeRemote(master proto.ProcID, assign uint64) {
	if d := r.doubted; d != nil && r.where == orphan && r.master == master && r.assign == assign {
		r.trustAgain(d)
		return
	}
	r.abandonTree()
	r.where, r.master, r.assign, r.heir, r.sure = remote, master, assign, 0, false
	r.resume(0)
}

// abandonTree gives up a tree that was installed, whole or in part, but never
// activated.
func (r *root) abandonTree() {
	if r.tree != nil {
		r.tree.Discard()
	}
	for l := r.own.head; l != nil; l = l.next {
		l.Lock = tree.Lock{ID: l.ID, Owner: l.Owner, Party: l.Party}
	}
	r.tree, r.foreign, r.use, r.doubted = nil, foreign{}, nil, nil
}

// resume carries out every unanswered own request, in the order in which they
// were made, on the master that is now known, and what others have sent
// meanwhile, as it came. Requests up to the operation number after have been put to it.
func (r *root) resume(after uint64) {
	type step struct {
		op uint64
		id proto.LockID
	}
	held := r.held
	r.held = nil
	others := func(until int64) {
		for len(held) > 0 && held[0].at <= until && !r.pauses() {
			if r.shard.p.alive(held[0].from) {
				r.fromOwner(held[0].from, &held[0].msg)
			}
			held = held[1:]
		}
	}
	var steps []step
	for l := r.own.head; l != nil; l = l.next {
		if l.ask.kind != proto.PendingNothing && l.ask.op > after {
			steps = append(steps, step{l.ask.op, l.ID})
		}
		if l.cancel.active && l.cancel.op > after {
			steps = append(steps, step{l.cancel.op, l.ID})
		}
		if l.unlock.active && l.unlock.op > after {
			steps = append(steps, step{l.unlock.op, l.ID})
		}
	}
	sort.Slice(steps, func(i, j int) bool { return steps[i].op < steps[j].op })
	if r.shard.p.guest {
		r.shard.p.resumed = append(r.shard.p.resumed, r.key)
	}
	carried := after > 0 // then the master knows this process
	for _, st := range steps {
		// An earlier step may have ended the lock or answered the request.
		l := r.shard.lookup(st.id)
		if l != nil && r.where == local {
			others(l.ask.made - 1)
		}
		switch {
		case r.pauses():
		case l == nil:
		case l.unlock.active:
			// Once it is done the request and its cancel are answered too.
			if l.unlock.op == st.op {
				r.carryUnlock(l)
				carried = true
			}
		case l.ask.kind != proto.PendingNothing && l.ask.op == st.op:
			r.carryAsk(l)
			carried = true
		case !l.cancel.active || l.cancel.op != st.op:
		case l.ask.kind == proto.PendingNothing || l.ask.op > st.op:
			// It meant a request that was granted before it came.
			r.shard.answerCancels(l, dlm.CancelGrant, false)
			r.shard.rest(l)
		default:
			r.carryCancel(l)
			carried = true
		}
	}
	if r.where == remote && r.ownCount > 0 && !carried {
		r.greet()
	}
	if !r.pauses() {
		queries := r.queries
		r.queries = nil
		for _, q := range queries {
			r.carryQuery(q)
		}
		others(1<<63 - 1)
	}
	r.held = append(r.held, held...)
}

// greet makes contact with a new master that this process asks nothing of:
// answers and notices travel on the connection that the owner of locks opens.
// It is a question whose answer nobody awaits.
func (r *root) greet() {
	m := r.shard.compose(proto.KQuery)
	m.Assign, m.Root, m.Name = r.assign, r.key, proto.Name{}
	r.shard.p.world.Send(r.master, proto.ToMaster, m)
}

// Granted implements tree.Sink: a queued request is granted.
func (r *root) Granted(t *tree.Lock) {
	if t.Owner == r.shard.p.me {
		if l := r.shard.lookup(t.ID); l != nil {
			l.fence()
			r.shard.granted(l, &t.Res.Block)
		}
		return
	}
	r.sendGranted(t)
}

// Blocking implements tree.Sink: a holder stands in somebody's way.
func (r *root) Blocking(t *tree.Lock, m mode.Mode, hint uint64) {
	s := r.shard
	if t.Owner == s.p.me {
		if l := s.lookup(t.ID); l != nil {
			s.blocking(l, m, hint)
		}
		return
	}
	msg := s.compose(proto.KBlocking)
	msg.Assign, msg.Lock, msg.Mode, msg.Hint = r.assign, t.ID, m, hint
	s.p.world.Send(t.Owner, proto.ToOwner, msg)
}
