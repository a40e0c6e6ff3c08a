"""Locks, value blocks, requests and routines in one process."""

import pickle
import select
import threading
import unittest
import warnings

import godlm
from godlm import CR, CW, EX, NL, PR, PW
from support import until


def block(text):
    return text.ljust(32, b"\0")


class Case(unittest.TestCase):
    def setUp(self):
        self.ns = self.enterContext(godlm.join())


class LockTest(Case):
    def test_with(self):
        with self.ns.lock("with", EX) as l:
            self.assertTrue(l.held)
            self.assertEqual((l.name, l.mode), (b"with", EX))
            self.assertEqual(l.info().granted, EX)
        self.assertFalse(l.held)
        self.assertIsNone(l.mode)
        with self.assertRaises(godlm.BadLock):
            l.unlock()
        with self.assertRaises(godlm.NoEntry):
            self.ns.resource_info("with")

    def test_names(self):
        for name in (b"\0\xff" * 32, "ä", "x" * 64):
            with self.ns.lock(name) as l:
                self.assertEqual(l.info().name, name if isinstance(name, bytes) else name.encode())
        for name in (b"", "", b"x" * 65, "ä" * 33, b"x" * 70000):
            with self.assertRaises(godlm.BadName):
                self.ns.lock(name)

    def test_refusals(self):
        with self.ns.lock("refused", EX):
            with self.assertRaises(godlm.NotQueued):
                self.ns.lock("refused", PR, timeout=0)
            with self.assertRaises(godlm.NotQueued):
                self.ns.lock("refused", PR, flags=godlm.NOQUEUE)
            with self.assertRaises(TimeoutError) as caught:
                self.ns.lock("refused", PR, timeout=0.001)
            self.assertIsInstance(caught.exception, godlm.Timeout)
            self.assertIsInstance(caught.exception, godlm.Refused)
            self.assertEqual(caught.exception.status, godlm.Status.TIMEOUT)
            self.assertEqual(caught.exception.text, "DLM_TIMEOUT")
            self.assertIn("'refused' in PR", str(caught.exception))
        for timeout in (-1, float("nan")):
            with self.assertRaises(ValueError):
                self.ns.lock("refused", timeout=timeout)

    def test_modes(self):
        for held in godlm.Mode:
            with self.ns.lock("modes", held):
                for asked in godlm.Mode:
                    try:
                        self.ns.lock("modes", asked, timeout=0).unlock()
                        self.assertTrue(held.allows(asked))
                    except godlm.NotQueued:
                        self.assertFalse(held.allows(asked))

    def test_sublocks(self):
        with self.ns.lock("tree", PR) as tree:
            leaf = tree.lock("leaf", EX)
            self.assertEqual(leaf.info().parent, tree.id)
            self.assertIs(leaf.parent, tree)
            self.assertEqual(self.ns.resource_info("leaf", tree).granted, EX)
            with self.assertRaises(godlm.HasSublocks):
                tree.unlock()
            tree.unlock_below()
            self.assertFalse(leaf.held)
        waiting = self.ns.lock("tree", EX)
        request = self.ns.start_lock("tree", EX)
        with self.assertRaises(godlm.ParentNotGranted):
            request.lock.lock("leaf")
        waiting.unlock()
        request.result().unlock()

    def test_a_forgotten_lock_is_unlocked(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.ns.lock("forgotten", EX)
            self.ns.lock("forgotten", EX).unlock()
            until(lambda: caught)
        self.assertEqual([w.category for w in caught], [ResourceWarning])
        with self.assertRaises(godlm.NoEntry):
            self.ns.resource_info("forgotten")

    def test_leaving(self):
        second = godlm.join()
        l = second.lock("left", EX)
        second.leave()  # the first is still joined
        l.unlock()
        with godlm.join() as third:
            sub = third.lock("left", EX).lock("below", EX)
            waiting = third.start_lock("left", EX)
        self.assertFalse(sub.held)
        self.assertRaises(godlm.Aborted, waiting.result)
        with self.assertRaises(godlm.NoEntry):
            self.ns.resource_info("left")
        held = self.ns.lock("left")
        with self.assertRaises(godlm.HasLocks):
            godlm.detach()
        held.unlock()

    def test_errors_survive_pickling(self):
        for status in godlm.Status:
            e = godlm.errors.error(status, "what")
            again = pickle.loads(pickle.dumps(e))
            self.assertEqual((type(again), str(again), again.status), (type(e), str(e), status))
        self.assertIs(type(godlm.errors.error(77)), godlm.Error)


class ValueTest(Case):
    def test_what_conversions_do(self):
        """The table of dlm_valueblock(7)."""
        order = (NL, CR, CW, PR, PW, EX)
        # held -> what a conversion to each of the modes does: r reads, w writes, - neither
        table = {NL: "rrrrrr", CR: "-rrrrr", CW: "--rrrr", PR: "---rrr", PW: "wwwwwr", EX: "wwwwww"}
        for held, row in table.items():
            for to, does in zip(order, row):
                with self.subTest(held=held, to=to), self.ns.lock("table", EX) as l:
                    l.write(b"before")
                    l.convert(held)
                    if does == "w":
                        l.convert(to, b"after")
                        self.assertEqual(l.value, godlm.Value(block(b"after"), True))
                    else:
                        with self.assertRaises(ValueError):
                            l.convert(to, b"after")
                        with self.assertRaises(ValueError):
                            l.convert(to, invalidate=True)
                        l.convert(to)
                        self.assertEqual(l.value.data, block(b"before"))
                    self.assertEqual(l.mode, to)
                    want = block(b"after" if does == "w" else b"before")
                    self.assertEqual(self.ns.resource_info("table").value, godlm.Value(want, True))

    def test_reading_and_writing(self):
        with self.ns.lock("value", NL) as reader:
            with self.ns.lock("value", PW) as writer:
                writer.write(b"one")
                self.assertEqual(reader.value.data, bytes(32))
                self.assertEqual(reader.read(), godlm.Value(block(b"one"), True))
                self.assertEqual(writer.read(), godlm.Value(block(b"one"), True))
                writer.convert(EX, timeout=0)
                writer.unlock(b"two")
            self.assertEqual(bytes(reader.read()), block(b"two"))
            with self.assertRaises(ValueError):
                reader.write(b"x")
            with self.assertRaises(ValueError):
                reader.unlock(b"x")
            with self.ns.lock("value", PW) as writer, self.assertRaises(ValueError):
                writer.unlock(bytes(33))

    def test_not_valid_is_told_and_raises_nothing(self):
        with self.ns.lock("doubt", NL) as l:
            with self.ns.lock("doubt", EX) as w:
                w.write(b"half")
                w.unlock(invalidate=True)
            self.assertEqual(l.read(), godlm.Value(block(b"half"), False))
            with self.ns.lock("doubt", EX) as w:
                self.assertEqual(w.value, godlm.Value(block(b"half"), False))
                self.assertFalse(w.read().valid)
                w.write(b"whole")
                self.assertTrue(w.value.valid)
                w.convert(EX, invalidate=True)
                self.assertFalse(w.value.valid)
                w.convert(PR, b"whole")
            self.assertEqual(l.read(), godlm.Value(block(b"whole"), True))

    def test_an_exception_can_leave_a_doubt(self):
        with self.ns.lock("doubt", NL) as l:
            for mode, ask, valid in ((EX, True, False), (EX, False, True), (PR, True, True)):
                with self.ns.lock("doubt", EX) as w:
                    w.write(b"")
                with self.assertRaises(ZeroDivisionError):
                    with self.ns.lock("doubt", mode, invalidate_on_error=ask):
                        1 / 0
                self.assertEqual(l.read().valid, valid)

    def test_tokens(self):
        last = godlm.Token(0, 0)
        for _ in range(5):
            with self.ns.lock("token", EX) as l:
                self.assertGreater(l.token(), last)
                last = l.token()
                l.convert(PR)
                with self.assertRaises(godlm.BadParameter):
                    l.token()


class RequestTest(Case):
    def test_completion(self):
        told = []
        with self.ns.lock("later", EX) as l:
            request = self.ns.start_lock("later", PR, done=told.append)
            self.assertFalse(request.wait(0.001))
            self.assertIn("holds EX", request.blockers())
            self.assertEqual(request.lock.info().state, godlm.LockState.WAITING)
        poller = select.poll()
        poller.register(godlm.event_fd(), select.POLLIN)
        self.assertTrue(poller.poll(30000))
        self.assertEqual(godlm.notify(), 1)
        self.assertFalse(poller.poll(0))
        self.assertEqual(told, [request])
        with request.result() as mine:
            self.assertEqual(mine.mode, PR)
            self.assertEqual(request.blockers(), "")

    def test_wait_keeps_routines_for_notify(self):
        """What comes while one waits for something else stays pending, and the descriptor shows it."""
        told = []
        with self.ns.lock("a", EX, blocking=lambda *what: told.append(what)) as a:
            waits = self.ns.start_lock("a", PR, hint=17)
            at_once = self.ns.start_lock("b", EX, done=told.append)
            with at_once.result():
                godlm.event_fd()
                self.assertFalse(waits.wait(0.001))
                self.assertEqual(told, [])
                poller = select.poll()
                poller.register(godlm.event_fd(), select.POLLIN)
                self.assertTrue(poller.poll(0))
                self.assertEqual(godlm.notify(None), 2)
                self.assertCountEqual(told, [at_once, (a, PR, 17)])
                self.assertFalse(poller.poll(0))
        waits.result().unlock()

    def test_a_routine_that_raises_leaves_the_rest(self):
        told = []

        def bad(request):
            raise ZeroDivisionError

        requests = []
        for done in (told.append, bad, told.append):
            requests.append(self.ns.start_lock("raise", NL, done=done))
            requests[-1].wait()
        with self.assertRaises(ZeroDivisionError):
            godlm.notify()
        self.assertEqual(told, requests[:1])
        poller = select.poll()
        poller.register(godlm.event_fd(), select.POLLIN)
        self.assertTrue(poller.poll(0))
        self.assertEqual(godlm.notify(), 1)
        self.assertEqual(told, [requests[0], requests[2]])
        self.assertEqual(godlm.notify(0.001), 0)
        for r in requests:
            r.result().unlock()

    def test_cancel(self):
        with self.ns.lock("cancel", PR) as l:
            request = self.ns.start_lock("cancel", EX)
            self.assertTrue(request.cancel())
            with self.assertRaises(godlm.Aborted):
                request.result()
            with self.ns.lock("cancel", PR):
                conversion = l.start_convert(EX)
                with self.assertRaises(godlm.NotGranted):
                    l.convert(NL)
                self.assertTrue(conversion.cancel())
                with self.assertRaises(godlm.Canceled):
                    conversion.result()
                self.assertEqual(l.mode, PR)
            granted = self.ns.start_lock("cancel", PR)
            self.assertFalse(granted.cancel())
            granted.result().unlock()

    def test_unlocking_what_waits(self):
        with self.ns.lock("cancel", EX):
            request = self.ns.start_lock("cancel", EX)
            request.lock.unlock()
            with self.assertRaises(godlm.Aborted):
                request.result()

    def test_conversion(self):
        with self.ns.lock("convert", PR) as l:
            other = self.ns.lock("convert", PR)
            with self.assertRaises(godlm.Timeout):
                l.convert(EX, timeout=0.001)
            self.assertEqual(l.mode, PR)
            request = l.start_convert(EX)
            other.unlock()
            self.assertIs(request.result(), l)
            self.assertEqual(l.mode, EX)

    def test_blocking_routine_follows_conversions(self):
        told = []

        def give_way(lock, mode, hint):
            told.append((lock.mode, mode))
            lock.convert(NL)

        with self.ns.lock("way", EX, blocking=give_way) as l:
            for _ in range(3):
                request = self.ns.start_lock("way", PR)
                self.assertEqual(godlm.notify(None), 1)
                request.result().unlock()
                l.convert(EX)
        self.assertEqual(told, [(EX, PR)] * 3)

    def test_threads_are_parties(self):
        """Threads that wait for each other's locks, for longer than the search for deadlocks waits, are no deadlock..."""
        waiting = threading.Event()
        result = []

        def wait():
            waiting.set()
            with self.ns.lock("party") as l:
                result.append(l.token())

        with self.ns.lock("party") as l:
            t = threading.Thread(target=wait)
            t.start()
            # ... whereas what one party does to itself is one.
            with self.assertRaises(godlm.Deadlock):
                self.ns.lock("party")
            until(lambda: self.ns.resource_info("party").locks == 2)
            mine = l.token()
        t.join()
        self.assertGreater(result[0], mine)

    def test_transactions(self):
        one, two = godlm.Transaction(1), godlm.Transaction(2, everywhere=True)
        a, b = self.ns.lock("ta", owner=one), self.ns.lock("tb", owner=two)
        first = self.ns.start_lock("tb", owner=one)
        second = self.ns.start_lock("ta", owner=two)
        until(lambda: [r for r in (first, second) if r.wait(0.01)])
        refused, other = (first, second) if first.done else (second, first)
        self.assertRaises(godlm.Deadlock, refused.result)
        (a if other is second else b).unlock()
        other.result().unlock()
        (b if other is second else a).unlock()
        with self.ns.lock("ta", owner=godlm.PROCESS):
            with self.assertRaises(godlm.Deadlock):
                self.ns.lock("ta", owner=godlm.PROCESS)

    def test_many_threads(self):
        count = 0

        def work():
            nonlocal count
            for _ in range(100):
                with self.ns.lock("sum"):
                    seen = count
                    if seen % 7 == 0:
                        threading.Event().wait(0)  # let others run
                    count = seen + 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        work()  # the main thread waits in another way
        for t in threads:
            t.join()
        self.assertEqual(count, 900)


if __name__ == "__main__":
    unittest.main()
