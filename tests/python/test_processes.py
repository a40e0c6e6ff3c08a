"""The package between real processes: values, deaths, routines, interrupts, loss of all locks, forks, ends."""

import os
import signal
import subprocess
import sys
import unittest

import godlm
from godlm import EX, NL, PR
from support import Child, Failed, run, until


class Case(unittest.TestCase):
    def setUp(self):
        self.ns = self.enterContext(godlm.join())

    def child(self, **how):
        child = Child(**how)
        self.addCleanup(lambda: child.p.returncode is None and child.kill())
        return child

    def await_waiter(self, name, mode=EX):
        until(lambda: self.ns.resource_info(name).waiting == mode, "somebody waits")

    def await_gone(self, name):
        def gone():
            try:
                self.ns.resource_info(name)
            except godlm.NoEntry:
                return True
        until(gone, f"nobody has a lock on {name}")


class SharingTest(Case):
    def test_value_travels(self):
        a, b = self.child(), self.child()
        a.do("l = ns.lock('v', EX)")
        b.start("l = ns.lock('v', PR)")
        self.await_waiter("v", PR)
        a.do("l.convert(NL, b'from a')")
        b.result()
        self.assertEqual(b.do("(bytes(l.value).rstrip(b'\\0'), l.value.valid)"), repr((b"from a", True)))

    def test_nobody_counts_twice(self):
        work = """
for i in range(200):
    with ns.lock('count', EX) as l:
        l.write((int.from_bytes(l.value.data[:4], 'little') + 1).to_bytes(4, 'little'))
"""
        with self.ns.lock("count", NL) as l:
            children = [self.child() for _ in range(4)]
            for c in children[:3]:
                c.start(work)
            children[3].start(f"t = threading.Thread(target=exec, args=({work!r}, globals())); t.start(); t.join()")
            for c in children:
                c.result()
            self.assertEqual(int.from_bytes(l.read().data[:4], "little"), 800)
            self.assertTrue(l.value.valid)

    def test_death_of_a_writer(self):
        writer = self.child()
        with self.ns.lock("d", NL) as l:
            writer.do("l = ns.lock('d', EX)")
            writer.do("l.write(b'half')")
            request = self.ns.start_lock("d", EX)
            self.assertEqual(writer.kill(), -signal.SIGKILL)
            with request.result() as mine:
                self.assertEqual(mine.value, godlm.Value(b"half".ljust(32, b"\0"), False))
                mine.write(b"mended")
            self.assertEqual(l.read(), godlm.Value(b"mended".ljust(32, b"\0"), True))
            reader = self.child()
            reader.do("l = ns.lock('d', PR)")
            reader.kill()
            self.assertTrue(l.read().valid)

    def test_kills_at_random(self):
        """Writers that keep two halves equal are killed at any moment: whoever is told 'valid' sees them equal."""
        work = """
n = 0
while True:
    with ns.lock('halves', EX) as l:
        n += 1
        l.write(n.to_bytes(8, 'little') + bytes(8))
        l.write(n.to_bytes(8, 'little') * 2)
"""
        doubts = 0
        with self.ns.lock("halves", NL) as l:
            for i in range(8):
                writers = [self.child(), self.child()]
                writes = self.ns.resource_info("halves").writes
                for w in writers:
                    w.start(work)
                until(lambda: self.ns.resource_info("halves").writes > writes + 5 + 7 * i)
                for w in writers:
                    w.kill()
                l.convert(EX)
                if l.value.valid:
                    self.assertEqual(l.value.data[:8], l.value.data[8:16])
                else:
                    doubts += 1
                l.convert(NL, bytes(16))
        self.assertGreater(doubts, 0)

    def test_cache_with_a_blocking_routine(self):
        reader, writer = self.child(), self.child()
        reader.do("blocked = []")
        reader.do("l = ns.lock('cache', PR, blocking=lambda l, mode, hint: (blocked.append((mode.name, hint)), l.convert(NL)))")
        writer.start("l = ns.lock('cache', EX, hint=5)")
        self.assertEqual(reader.do("godlm.notify(None)"), 1)
        writer.result()
        self.assertEqual(reader.do("blocked"), repr([("EX", 5)]))
        self.assertEqual(reader.do("l.mode.name"), "NL")

    def test_who_is_in_the_way(self):
        a, b = self.child(), self.child()
        a.do("l = ns.lock('way', EX)")
        b.do("r = ns.start_lock('way', EX)")
        until(lambda: f"process {a.pid} " in b.do("r.blockers()"))


class InterruptTest(Case):
    def test_ctrl_c_ends_a_wait(self):
        child = self.child()
        with self.ns.lock("int", PR):
            child.start("ns.lock('int', EX)")
            self.await_waiter("int")
            child.signal(signal.SIGINT)
            with self.assertRaisesRegex(Failed, "KeyboardInterrupt"):
                child.result()
            self.assertIsNone(self.ns.resource_info("int").waiting)
            child.do("l = ns.lock('int', PR)")
            child.start("l.convert(EX)")
            until(lambda: self.ns.resource_info("int").converting == EX)
            child.signal(signal.SIGINT)
            with self.assertRaisesRegex(Failed, "KeyboardInterrupt"):
                child.result()
            self.assertEqual(child.do("l.mode.name"), "PR")
            self.assertEqual(child.do("l.info().state.name"), "GRANTED")
        child.do("l.convert(EX)")

    def test_ctrl_c_where_the_master_is_stopped(self):
        """The request cannot be withdrawn before the master goes on; a second Ctrl-C does not wait for that."""
        master, child = self.child(), self.child()
        child.do("""
def give_up():
    try:
        ns.lock('stopped', EX)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise
""")
        master.do("l = ns.lock('stopped', EX)")
        child.start("give_up()")
        self.await_waiter("stopped")
        master.stop()
        until(lambda: child.has_answered(0.05) or child.signal(signal.SIGINT), "the second interrupt ends it")
        with self.assertRaisesRegex(Failed, "KeyboardInterrupt"):
            child.result()
        master.signal(signal.SIGCONT)
        master.do("l.unlock()")
        child.do("godlm.notify()")
        self.await_gone("stopped")

    def test_no_notification_is_lost_by_interrupts(self):
        """Interrupts at any moment, also while the library's routines run: every request is accounted for."""
        child = self.child()
        child.do("""
class Interrupt(Exception): pass
def handler(number, frame):
    raise Interrupt
signal.signal(signal.SIGALRM, handler)
hits = ends = 0
def storm():
    global hits, ends
    for i in range(400):
        request = None
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0002 + i % 40 * 0.00002)
            held = ns.lock('storm', EX)
            request = ns.start_lock('storm', EX)
            held.unlock()
            request.result().unlock()
            while True:
                ns.lock('storm', EX).unlock()
        except Interrupt:
            hits += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        if request is not None:
            if request.lock.held or not request.done:
                held = None
                if not request.cancel():
                    try:
                        request.result()
                    except godlm.Refused:
                        pass
                request.wait()
            ends += request.done
        held = request = None
import warnings; warnings.simplefilter('ignore')
""")
        child.do("storm()")
        self.assertEqual(child.do("hits"), 400)
        until(lambda: child.do("godlm.notify() or len(godlm._forgotten._memos) == 0"))
        self.assertGreater(child.do("ends"), 0)
        self.await_gone("storm")


# A program that shuts connections which are not its own is gone for the others.
CUT = """
import socket
def cut():
    for fd in map(int, os.listdir('/proc/self/fd')):
        try:
            s = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        with s:
            try:
                if s.family == socket.AF_UNIX and s.getpeername():
                    s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
"""


class LossTest(Case):
    def test_lost(self):
        master, child = self.child(), self.child()
        master.do("l = ns.lock('elsewhere', NL)")
        child.do("told = []; godlm.set_lost_handler(lambda: told.append(1))")
        child.do("l = ns.lock('lost', EX)")
        child.do("m = ns.lock('elsewhere', PR)")
        child.do("r = ns.start_lock('lost', EX)")
        child.do(CUT)
        child.do("cut()")
        self.assertEqual(child.do("godlm.notify(30)"), 1)
        self.assertEqual(child.do("told"), "[1]")
        with self.ns.lock("lost", EX):
            pass
        for call in ("ns.lock('more', EX)", "l.unlock()", "r.result()", "godlm.join().lock('x')",
                     "m.__exit__(None, None, None)"):  # the with block ends: its lock was not there
            with self.assertRaisesRegex(Failed, "^Lost: "):
                child.do(call)
        self.assertFalse(child.do("m.held"))
        with self.assertRaisesRegex(Failed, "^ValueError"):
            child.do("exec('with m: raise ValueError')")


class ForkTest(Case):
    def test_a_child_of_a_user_has_nothing(self):
        child = self.child()
        child.do("l = ns.lock('fork', EX)")
        child.do("""
import warnings
def refused(call, error):
    try:
        call()
    except error as e:
        return type(e) is error
    return False
r, w = os.pipe()
godlm.event_fd()
pid = os.fork()
if pid == 0:
    good = (refused(l.unlock, godlm.NotAttached) and refused(lambda: ns.lock('fork'), godlm.NotAttached)
            and refused(lambda: l.convert(PR), godlm.NotAttached) and refused(l.token, godlm.NotAttached)
            and refused(lambda: ns.resource_info('fork'), godlm.NotAttached) and refused(godlm.join, godlm.Unavailable)
            and refused(godlm.event_fd, godlm.NotAttached) and refused(ns.leave, godlm.NotAttached)
            and godlm.notify() == 0 and not l.held and l.mode is None)
    warnings.simplefilter('error')
    with l:
        pass
    del l
    os.write(w, b'good' if good else b'bad')
    os._exit(0)
os.waitpid(pid, 0)
""")
        self.assertEqual(child.do("os.read(r, 4)"), b"good")
        self.assertTrue(child.do("l.held"))
        child.do("l.write(b'still mine')")

    def test_a_child_forked_before_the_first_use(self):
        child = self.child(join=False)
        child.do("""
import multiprocessing
context = multiprocessing.get_context('fork')
def work():
    with godlm.join() as ns:
        for i in range(50):
            with ns.lock('forked', EX) as l:
                l.write((l.value.data[0] + 1).to_bytes(1, 'little'))
children = [context.Process(target=work) for _ in range(4)]
""")
        with self.ns.lock("forked", NL) as l:
            child.do("[c.start() for c in children]; [c.join() for c in children]")
            self.assertEqual(child.do("[c.exitcode for c in children]"), "[0, 0, 0, 0]")
            self.assertEqual(l.read(), godlm.Value(bytes([200]).ljust(32, b"\0"), True))


class EndTest(Case):
    def test_held_at_the_end_is_a_doubt(self):
        with self.ns.lock("end", NL) as l:
            for source, valid in (("l = ns.lock('end')", False), ("with ns.lock('end') as l: sys.exit()", True),
                                  ("exec('def f(l): raise SystemExit\\nwith ns.lock(\"end\") as l: f(l)')", True)):
                l.convert(EX)
                l.convert(NL, b"")
                done = run(f"import sys, godlm\nns = godlm.join()\n{source}")
                self.assertEqual((done.returncode, done.stderr), (0, ""), source)
                until(lambda: self.ns.resource_info("end").locks == 1)
                self.assertEqual(l.read().valid, valid, source)

    def test_with_faulthandler(self):
        """It takes away the main thread's signal stack at the end, which the Go runtime wants; it hit one end in ten."""
        source = "import faulthandler; faulthandler.enable()\nimport godlm; ns = godlm.join(); l = ns.lock('fault')"
        for _ in range(20):
            done = run(source)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_with_routines_in_flight(self):
        """Programs end while threads run routines, wait for locks, and requests are under way."""
        source = """
import threading, sys, godlm
ns = godlm.join()
def serve():
    while True:
        godlm.notify(None)
def give_way(lock, mode, hint):
    try:
        lock.convert(godlm.NL)
        lock.start_convert(godlm.EX)
    except godlm.NotGranted:
        pass  # the other thread is at it
def wait(i):
    while True:
        ns.lock('w%d' % (i % 2)).unlock()
l = ns.lock('w0', blocking=give_way)
held = ns.lock('held')
requests = [ns.start_lock('held', done=print) for _ in range(20)]
for target, *args in ((serve,), (serve,), (wait, 0), (wait, 1), (wait, 0)):
    threading.Thread(target=target, args=args, daemon=True).start()
threading.Event().wait(float(sys.argv[1]))
"""
        for i in range(8):
            p = subprocess.run([sys.executable, "-B", "-c", source, str(i * 0.01)], capture_output=True, text=True, timeout=60)
            self.assertEqual((p.returncode, p.stderr), (0, ""))
            self.await_gone("w0")


if __name__ == "__main__":
    unittest.main()
