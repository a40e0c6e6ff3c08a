"""Recovery domains and group lock containers."""

import unittest

import godlm
from godlm import EX, NL, PR
from support import Child, Failed, until


class Case(unittest.TestCase):
    def setUp(self):
        self.ns = self.enterContext(godlm.join())

    def child(self):
        child = Child()
        self.addCleanup(lambda: child.p.returncode is None and child.kill())
        return child


class DomainTest(Case):
    def test_a_doubt_outlives_all_locks(self):
        with godlm.RecoveryDomain("books") as books:
            child = self.child()
            child.do("d = godlm.RecoveryDomain('books')")
            child.do("l = ns.lock('account', EX, domain=d)")
            child.do("l.write(b'half')")
            child.kill()
            with self.ns.lock("account", PR, domain=books) as l:
                self.assertEqual(l.value, godlm.Value(b"half".ljust(32, b"\0"), False))
                with self.assertRaises(godlm.HasLocks):
                    books.detach()
            repairs = []
            books.recover(lambda: repairs.append(1))
            self.assertIn(len(repairs), (1, 2))
            with self.ns.lock("account", PR, domain=books) as l:
                self.assertEqual(l.value, godlm.Value(bytes(32), True))

    def test_collections(self):
        with godlm.RecoveryDomain("c") as c:
            collection = c.collect()
            with self.assertRaises(godlm.CollectionOpen):
                c.collect()
            with self.assertRaises(godlm.RecoveryInProgress):
                c.detach()
            child = self.child()
            child.do("d = godlm.RecoveryDomain('c')")
            with self.assertRaisesRegex(Failed, "^RecoveryInProgress"):
                child.do("d.collect()")
            self.assertTrue(collection.validate())
            with self.assertRaises(godlm.BadCollection):
                collection.validate()
            with self.assertRaises(godlm.AlreadyAttached):
                godlm.RecoveryDomain("c")
        with self.assertRaises(godlm.BadDomain):
            c.collect()
        with self.assertRaises(godlm.NameTooLong):
            godlm.RecoveryDomain("x" * 65)
        with self.assertRaises(godlm.NoContainer):
            godlm.RecoveryDomain("x", group=True)

    def test_kinds_do_not_mix(self):
        with godlm.RecoveryDomain("k") as k, godlm.RecoveryDomain("other") as other:
            with self.ns.lock("kept", domain=k):
                with self.assertRaises(godlm.IsPersistent):
                    self.ns.lock("kept", NL)
                with self.assertRaises(godlm.DomainMismatch):
                    self.ns.lock("kept", NL, domain=other)
            with self.ns.lock("plain"):
                with self.assertRaises(godlm.NotPersistent):
                    self.ns.lock("plain", NL, domain=k)

    def test_invalidating(self):
        first = godlm.RecoveryDomain("inv")
        first.detach(invalidate=True)
        with godlm.RecoveryDomain("inv") as d:
            with self.ns.lock("fresh", PR, domain=d) as l:
                self.assertFalse(l.value.valid)
            d.recover(lambda: None)
            with self.ns.lock("fresh", PR, domain=d) as l:
                self.assertTrue(l.value.valid)


class ContainerTest(Case):
    def test_group_locks_belong_to_all(self):
        a, b = self.child(), self.child()
        number = int(a.do("c = godlm.Container.create([ns])") or a.do("c.id"))
        a.do("l = ns.lock('common', EX, group=True)")
        id = a.do("l.id")
        b.do(f"godlm.Container({number}).attach()")
        b.do(f"l = ns.adopt({id})")
        self.assertEqual(b.do("(l.name, l.mode.name)"), repr((b"common", "EX")))
        b.do("l.convert(EX, b'by b')")
        self.assertEqual(a.do("l.read().data[:4]"), b"by b")
        a.kill()
        with self.assertRaises(godlm.NotQueued):
            self.ns.lock("common", PR, timeout=0)
        # Another member's conversions are known: what a conversion reads or writes depends on the mode.
        b.do("l.convert(PR)")
        with self.ns.lock("common", PR) as mine:
            self.assertEqual(mine.value, godlm.Value(b"by b".ljust(32, b"\0"), True))
            b.kill()
            until(lambda: self.ns.resource_info("common").locks == 1)
            self.assertTrue(mine.read().valid)

    def test_the_end_of_a_container_is_a_doubt(self):
        a = self.child()
        with self.ns.lock("common", NL) as mine:
            a.do("c = godlm.Container.create([ns], owned=True)")
            a.do("l = ns.lock('common', EX, group=True)")
            a.kill()
            until(lambda: self.ns.resource_info("common").locks == 1)
            self.assertFalse(mine.read().valid)

    def test_life(self):
        c = godlm.Container.create([self.ns], permanent=True)
        with self.assertRaises(godlm.AlreadyAttached):
            c.attach()
        with self.assertRaises(godlm.HasProcesses):
            c.destroy()
        with self.assertRaises(godlm.InContainer):
            godlm.detach()
        l = self.ns.lock("mine", EX, group=True)
        request = self.ns.start_lock("mine", PR, group=True)
        self.assertFalse(request.wait(0.001))
        l.unlock()
        request.result().unlock()
        c.detach()
        with self.assertRaises(godlm.NotAttached):
            c.detach()
        c.destroy()
        with self.assertRaises(godlm.NoEntry):
            c.attach()
        with self.assertRaises(godlm.NoContainer):
            self.ns.lock("mine", group=True)
        with self.assertRaises(godlm.BadParameter):
            godlm.Container.create([])


if __name__ == "__main__":
    unittest.main()
