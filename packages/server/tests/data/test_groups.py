import asyncio

import pytest

from algorium_server.data.groups import Group


class Slow:
    """Work that ends when it is told to."""

    def __init__(self):
        self.batches = []
        self.may_end = asyncio.Event()

    async def __call__(self, requests):
        self.batches.append(list(requests))
        await self.may_end.wait()
        return [ValueError(each) if each < 0 else each * 10 for each in requests]


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_arrives_while_a_batch_is_under_way_is_the_next_one(runner):
    async def scenario():
        work = Slow()
        group = Group(work, size_max=3)
        first = asyncio.ensure_future(group.ask(1))
        await turns()
        others = [asyncio.ensure_future(group.ask(number)) for number in range(2, 7)]
        await turns()
        work.may_end.set()
        return await asyncio.gather(first, *others), work.batches

    assert runner.run(scenario()) == ([10, 20, 30, 40, 50, 60], [[1], [2, 3, 4], [5, 6]])


def test_one_that_is_refused_leaves_the_others_alone(runner):
    async def scenario():
        work = Slow()
        work.may_end.set()
        group = Group(work, size_max=9)
        asked = [group.ask(number) for number in (1, -2, 3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    one, refused, three = runner.run(scenario())

    assert (one, three) == (10, 30)
    assert isinstance(refused, ValueError)


def test_what_fails_as_a_whole_fails_for_each_and_the_next_batch_is_tried(runner):
    async def scenario():
        async def work(requests):
            if 0 in requests:
                raise ZeroDivisionError
            return requests

        group = Group(work, size_max=9)
        failed = await asyncio.gather(group.ask(0), group.ask(1), return_exceptions=True)
        return [type(each) for each in failed], await group.ask(2)

    assert runner.run(scenario()) == ([ZeroDivisionError, ZeroDivisionError], 2)


def test_who_gave_up_waiting_is_left_out_and_disturbs_nobody(runner):
    async def scenario():
        work = Slow()
        group = Group(work, size_max=9)
        asked = [asyncio.ensure_future(group.ask(1))]
        await turns()
        asked += [asyncio.ensure_future(group.ask(number)) for number in (2, 3)]
        await turns()
        asked[0].cancel()
        asked[1].cancel()
        work.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await asked[0]
        return await asked[2], work.batches

    assert runner.run(scenario()) == (30, [[1], [3]])
