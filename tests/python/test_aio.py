"""godlm.aio: tasks, cancellation at every moment, notices, other processes, several loops."""

import asyncio
import random
import signal
import threading
import unittest

import godlm
from godlm import EX, NL, PR, aio
from support import PATIENCE, Child
from test_processes import CUT


async def until(condition, what="condition"):
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.002)


class Case(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.ns = await self.enterAsyncContext(aio.join())
        self.addAsyncCleanup(self.nothing_is_left)

    def child(self, **how):
        child = Child(**how)
        self.addCleanup(lambda: child.p.returncode is None and child.kill())
        return child

    async def info(self, name):
        try:
            return await self.ns.resource_info(name)
        except godlm.NoEntry:
            return None

    async def gone(self, name):
        async def nobody():
            return await self.info(name) is None
        await until(nobody)

    async def locks(self, name, count):
        async def so_many():
            i = await self.info(name)
            return i is not None and i.locks == count
        await until(so_many)

    async def nothing_is_left(self):
        async def nothing():
            return not godlm._notify.under_way
        await until(nothing, "all requests have ended")


class LockTest(Case):
    async def test_lock(self):
        async with self.ns.lock("a", EX) as l:
            self.assertEqual((l.mode, l.name, l.held), (EX, b"a", True))
            await l.write(b"one")
            self.assertEqual((await l.read()).data[:3], b"one")
            self.assertGreater(await l.token(), (0, 0))
            with self.assertRaises(godlm.NotQueued):
                await self.ns.lock("a", PR, timeout=0)
            with self.assertRaises(godlm.Timeout):
                await self.ns.lock("a", PR, timeout=0.01)
            async with l.lock("sub", PR) as sub:
                self.assertEqual(sub.info().parent, l.id)
            await l.convert(NL, b"two")
            l2 = await self.ns.lock("a", PR)
            self.assertEqual(l2.value, godlm.Value(b"two".ljust(32, b"\0"), True))
            await l2.unlock()
        self.assertFalse(l.held)
        await self.gone("a")

    async def test_many_tasks_count(self):
        count = 0

        async def work():
            nonlocal count
            for _ in range(3):
                async with self.ns.lock("count"):
                    seen = count
                    await asyncio.sleep(0)
                    count = seen + 1

        await asyncio.gather(*(work() for _ in range(200)))
        self.assertEqual(count, 600)
        await self.gone("count")

    async def test_tasks_are_parties(self):
        """A task that waits for another one's lock, for longer than the search for deadlocks waits, is no deadlock."""
        async def hold(taken, until):
            async with self.ns.lock("party"):
                taken.set()
                await until.wait()

        taken, enough = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(hold(taken, enough))
        await taken.wait()
        waiter = asyncio.create_task(hold(asyncio.Event(), enough))
        async with self.ns.lock("own"):
            with self.assertRaises(godlm.Deadlock):  # begins to wait after the others
                await self.ns.lock("own")
        self.assertFalse(waiter.done())
        enough.set()
        await asyncio.gather(holder, waiter)

    async def test_a_lock_may_be_given_up_by_another_task(self):
        l = await self.ns.lock("handed over")
        await asyncio.create_task(l.unlock())
        await self.gone("handed over")

    async def test_a_doubt(self):
        async with self.ns.lock("doubt", NL) as l:
            with self.assertRaises(ZeroDivisionError):
                async with self.ns.lock("doubt", EX, invalidate_on_error=True):
                    1 / 0
            self.assertFalse((await l.read()).valid)

    async def test_the_namespace_ends(self):
        async with aio.join() as ns:
            held = await ns.lock("end", EX)
            waits = asyncio.create_task(self.ns.lock("end", PR).__aenter__())
            other = asyncio.ensure_future(waiting(ns.lock("end", EX)))
            await self.locks("end", 3)
        self.assertFalse(held.held)
        with self.assertRaises(godlm.Aborted):
            await other
        await (await waits).unlock()
        await self.gone("end")


async def waiting(opening):
    return await opening


class CancelTest(Case):
    async def test_while_it_waits(self):
        async with self.ns.lock("c", EX):
            tasks = [asyncio.ensure_future(waiting(self.ns.lock("c", EX))) for _ in range(50)]
            await self.locks("c", 51)
            for t in tasks:
                t.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self.assertTrue(all(isinstance(r, asyncio.CancelledError) for r in results))
            await self.locks("c", 1)
        await self.gone("c")

    async def test_at_the_moment_of_the_grant(self):
        """Grant and cancellation in one pass of the loop, in either order, and some passes apart."""
        for steps in range(40):
            holder = await self.ns.lock("g", EX)
            task = asyncio.ensure_future(waiting(self.ns.lock("g", EX)))
            await self.locks("g", 2)
            if steps % 2:
                task.cancel()
                await holder.unlock()
            else:
                await holder.unlock()
                for _ in range(steps // 2 % 8):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                await (await task).unlock()
            except asyncio.CancelledError:
                pass
            await self.gone("g")

    async def test_timeouts_by_cancellation(self):
        async with self.ns.lock("t", PR):
            async with self.ns.lock("t", PR) as l:
                for _ in range(20):
                    with self.assertRaises(TimeoutError):
                        async with asyncio.timeout(0.001):
                            await l.convert(EX)
                    self.assertEqual(l.mode, PR)
            async with self.ns.lock("t", PR) as l:
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(l.convert(EX), 0.001)
                self.assertTrue(l.held)  # and is unlocked with the conversion perhaps still under way
        await self.gone("t")

    async def test_at_random_between_processes(self):
        """Tasks of several processes, cancelled at any moment: the lock excludes, and nothing is left of them."""
        source = """
import random
async def main(seed):
    rnd = random.Random(seed)
    got = 0
    async with godlm.aio.join() as ns:
        async def work():
            nonlocal got
            async with ns.lock('r', EX) as l:
                got += 1
                n = int.from_bytes(l.value.data[:4], 'little')
                await l.write((n + 1).to_bytes(4, 'little') + n.to_bytes(4, 'little'))
                await asyncio.sleep(rnd.random() * 0.002)
        async def life():
            task = asyncio.ensure_future(work())
            await asyncio.sleep(rnd.random() * 0.03)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
        async def lives():
            for _ in range(15):
                await life()
        await asyncio.gather(*(lives() for _ in range(12)))
        while godlm._notify.under_way:
            await asyncio.sleep(0.01)
    return got
"""
        async with self.ns.lock("r", NL) as l:
            children = [self.child(join=False) for _ in range(3)]
            for i, c in enumerate(children):
                c.do(source)
                c.start(f"asyncio.run(main({i}))")
            loop = asyncio.get_running_loop()
            got = [await loop.run_in_executor(None, c.result) for c in children]
            self.assertGreater(sum(got), 20)
            await self.locks("r", 1)
            self.assertLessEqual(int.from_bytes((await l.read()).data[:4], "little"), sum(got))
        await self.gone("r")

    async def test_unlocking_is_not_stopped(self):
        master = self.child()
        master.do("l = ns.lock('u', NL)")
        for _ in range(30):
            async def work():
                async with self.ns.lock("u", EX):
                    pass
            task = asyncio.ensure_future(work())
            await asyncio.sleep(random.random() * 0.002)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
        await self.locks("u", 1)

    async def test_the_loop_ends_while_tasks_wait(self):
        """asyncio.run() cancels what waits; and a loop that is closed without that keeps nobody waiting for ever."""
        holder = await self.ns.lock("ends", EX)

        async def main(orderly):
            ns = await aio.join()
            asyncio.ensure_future(waiting(ns.lock("ends", EX)))
            while (await ns.resource_info("ends")).waiting is None:
                await asyncio.sleep(0.001)

        def abrupt():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main(False))
            loop.close()

        await asyncio.get_running_loop().run_in_executor(None, lambda: asyncio.run(main(True)))
        await asyncio.get_running_loop().run_in_executor(None, abrupt)
        await holder.unlock()
        import gc
        gc.collect()  # the task that nobody runs any more
        await self.gone("ends")


class NoticeTest(Case):
    async def test_iterator(self):
        seen = []

        async def give_way(l):
            async for notice in l.notices():
                seen.append((notice.mode, notice.hint))
                await l.convert(NL)
                await l.convert(EX)

        l = await self.ns.lock("n", EX, watch=True)
        guard = asyncio.create_task(give_way(l))
        for i in range(5):
            async with self.ns.lock("n", PR, hint=i):
                pass
        await l.unlock()
        await guard
        self.assertEqual(seen, [(PR, i) for i in range(5)])
        async with self.ns.lock("n") as l:
            with self.assertRaises(RuntimeError):
                await anext(l.notices())

    async def test_callback(self):
        told = []

        def blocking(lock, mode, hint):
            told.append((lock, mode, hint, threading.get_ident()))
            asyncio.ensure_future(lock.convert(NL))

        async with self.ns.lock("n", EX, blocking=blocking) as l:
            child = self.child()
            await asyncio.to_thread(child.do, "ns.lock('n', EX, hint=3).unlock()")
        self.assertEqual(told, [(l, EX, 3, threading.get_ident())])

    async def test_death_of_a_writer(self):
        writer = self.child()
        async with self.ns.lock("w", NL):
            writer.do("l = ns.lock('w', EX)")
            task = asyncio.ensure_future(waiting(self.ns.lock("w", EX)))
            await self.locks("w", 3)
            writer.kill()
            l = await task
            self.assertFalse(l.value.valid)
            await l.write(b"mended")
            await l.unlock()

    async def test_a_stopped_master_does_not_stop_the_loop(self):
        master = self.child()
        master.do("l = ns.lock('s', NL)")
        l = await self.ns.lock("s", EX)
        self.assertFalse(l._lock._master_here)
        waits = asyncio.ensure_future(waiting(self.ns.lock("s", EX)))

        async def waits_there():  # asked there: a tree moves to who asks for much
            return master.do("ns.resource_info('s').locks") == 3

        await until(waits_there)
        master.stop()
        waits.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waits
        for _ in range(50):  # the loop turns, and other names are there
            async with self.ns.lock("free"):
                await asyncio.sleep(0)
        unlocking = asyncio.create_task(l.unlock())  # may or may not wait for the master
        await asyncio.sleep(0)
        self.assertTrue(godlm.locks._abandoned)  # the withdrawal does
        master.signal(signal.SIGCONT)
        await unlocking
        await self.locks("s", 1)

    async def test_loops_in_threads(self):
        count = 0

        async def work():
            nonlocal count
            async with aio.join() as ns:
                async def one():
                    nonlocal count
                    async with ns.lock("loops"):
                        seen = count
                        await asyncio.sleep(0)
                        count = seen + 1
                await asyncio.gather(*(one() for _ in range(50)))

        def plainly():
            nonlocal count
            with godlm.join() as ns:
                for _ in range(50):
                    with ns.lock("loops"):
                        count += 1

        run = asyncio.get_running_loop().run_in_executor
        await asyncio.gather(*(run(None, asyncio.run, work()) for _ in range(2)), run(None, plainly), work())
        self.assertEqual(count, 200)
        await self.gone("loops")


class LossTest(unittest.IsolatedAsyncioTestCase):
    async def test_lost(self):
        child = Child()
        master = Child()
        self.addCleanup(master.kill)
        self.addCleanup(child.end)
        master.do("l = ns.lock('far', NL)")
        child.do(CUT)
        child.do("""
async def main():
    told = []
    async with godlm.aio.join(on_lost=lambda: told.append(1)) as ns:
        l = await ns.lock('far', NL)
        m = await ns.lock('near', EX)
        task = asyncio.ensure_future(ns.lock('near', EX).__aenter__())
        await asyncio.sleep(0)
        cut()
        await ns.lost()
        for call in (m.convert(NL), m.unlock(), task):
            try:
                await call
            except godlm.Lost:
                told.append(2)
    return told
""")
        self.assertEqual(child.do("asyncio.run(main())"), repr([1, 2, 2, 2]))


if __name__ == "__main__":
    unittest.main()
