import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Answer, PastBroadcast } from '../../src/shared/history/ask.ts'
import { askFrame, endFrame, entryFrame, historyRefusalFrame } from '../../src/shared/history/frame.ts'
import { KEPT_MS, MAX_ANSWERS, SILENCE_TIMEOUT_MS } from '../../src/shared/history/limits.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { HISTORY_PROTOCOL, MAX_HISTORY_FRAME_BYTES } from '../../src/shared/wire/history.ts'
import { eventually } from '../support/eventually.ts'
import {
  ATTIC,
  author,
  fill,
  type Historian,
  HistoryWorld,
  LOBBY,
  label,
  range,
  recordOf,
  START,
  sayAll
} from '../support/history-world.ts'

const ana = await author()
const bob = await author()

async function ask(world: HistoryWorld, from: Historian, to: Node, limit = 100): Promise<Answer> {
  await world.connect(from.node, to)
  return await from.history.ask(to.peerId, LOBBY, limit, new AbortController().signal)
}

describe('a keeper', () => {
  it('gives a member the newest of a topic, as their authors signed them', async () => {
    await using world = new HistoryWorld()
    const [keeper, newcomer] = [await world.historian({ keep: [LOBBY] }), await world.historian()]
    const said = await sayAll(ana, range(1, 20))
    for (const message of said) keeper.history.take(message)
    const { outcome, messages } = await ask(world, newcomer, keeper.node, 5)
    assert.equal(outcome, 'answered')
    assert.deepEqual(messages.map(label), said.slice(15).reverse().map(label))
    assert.deepEqual(
      messages.map(({ proof }) => Buffer.from(proof)),
      said
        .slice(15)
        .reverse()
        .map(({ proof }) => Buffer.from(proof))
    )
    assert.equal(keeper.counted['in answered'], 1)
    assert.equal(newcomer.counted['out answered'], 1)
  })

  it('takes only what belongs to the topics it keeps, and says so of the others', async () => {
    await using world = new HistoryWorld()
    const [keeper, newcomer] = [await world.historian({ keep: [ATTIC] }), await world.historian()]
    for (const message of await sayAll(ana, range(1, 3))) keeper.history.take(message)
    assert.deepEqual(keeper.history.counts, { messages: 0, bytes: 0 })
    assert.deepEqual(await ask(world, newcomer, keeper.node), { outcome: 'not-kept', messages: [] })
  })

  it('tells nothing to who shows no membership, or when it has left itself', async () => {
    await using world = new HistoryWorld()
    const keeper = await world.historian({ keep: [LOBBY] })
    for (const message of await sayAll(ana, range(1, 3))) keeper.history.take(message)
    const stranger = await world.node()
    const asked = askFrame(LOBBY.key, new TextEncoder().encode('stranger'), 10)
    assert.deepEqual(await world.exchange(stranger, keeper.node, asked), [{ refusal: { code: 'not-a-member' } }])
    const stolen = askFrame(LOBBY.key, recordOf(ana.peerId), 10) // a record of somebody else
    await assert.rejects(world.exchange(stranger, keeper.node, stolen))
    const asker = await world.node()
    keeper.topics.delete(LOBBY.id)
    const own = askFrame(LOBBY.key, recordOf(asker.peerId), 10)
    assert.deepEqual(await world.exchange(asker, keeper.node, own), [{ refusal: { code: 'not-a-member' } }])
  })

  it('never gives more than was asked for, and says that it is complete', async () => {
    await using world = new HistoryWorld()
    const [keeper, asker] = [await world.historian({ keep: [LOBBY] }), await world.node()]
    for (const message of await sayAll(ana, range(1, 3))) keeper.history.take(message)
    for (const [limit, given] of [
      [1, 1],
      [3, 3],
      [4_000_000_000, 3]
    ] as const) {
      const frames = await world.exchange(asker, keeper.node, askFrame(LOBBY.key, recordOf(asker.peerId), limit))
      assert.equal(frames.length, given + 1)
      assert.deepEqual(frames.at(-1), { end: {} })
    }
  })

  it('resets who asks nothing, asks for nothing, or says something else first', async () => {
    await using world = new HistoryWorld()
    const [keeper, asker] = [await world.historian({ keep: [LOBBY] }), await world.node()]
    for (const first of [
      askFrame(LOBBY.key, recordOf(asker.peerId), 0),
      askFrame(new Uint8Array(36), recordOf(asker.peerId), 1),
      endFrame(),
      Uint8Array.of(0xff)
    ]) {
      await assert.rejects(world.exchange(asker, keeper.node, first))
    }
    assert.equal(keeper.counted['in failed'], 4)
  })

  it('gives up on a stream that asks nothing in time', async () => {
    await using world = new HistoryWorld()
    const [keeper, silent] = [await world.historian({ keep: [LOBBY] }), await world.node()]
    await world.connect(silent, keeper.node)
    const channel = await silent.open(keeper.node.peerId, HISTORY_PROTOCOL, { maxFrameBytes: MAX_HISTORY_FRAME_BYTES })
    await eventually('the silent stream is dropped', () => {
      world.clock.advance(1_000)
      assert.ok(channel.signal.aborted)
    })
  })

  it('bounds what one asker gets, and goes on serving the others', async () => {
    await using world = new HistoryWorld()
    const [keeper, greedy, other] = [
      await world.historian({ keep: [LOBBY] }),
      await world.historian(),
      await world.historian()
    ]
    await fill(keeper, ana.peerId)
    const outcomes: string[] = []
    for (let count = 0; count < 4; count++) {
      const frames = await world.exchange(
        greedy.node,
        keeper.node,
        askFrame(LOBBY.key, recordOf(greedy.node.peerId), 1_000)
      )
      outcomes.push(frames.at(-1)?.refusal?.code ?? 'answered')
    }
    assert.deepEqual(outcomes, ['answered', 'answered', 'limit-reached', 'limit-reached'])
    const frames = await world.exchange(other.node, keeper.node, askFrame(LOBBY.key, recordOf(other.node.peerId), 2))
    assert.equal(frames.length, 3)
    world.clock.advance(60_000)
    const later = await world.exchange(
      greedy.node,
      keeper.node,
      askFrame(LOBBY.key, recordOf(greedy.node.peerId), 1_000)
    )
    assert.equal(later.at(-1)?.refusal, undefined)
  })

  it('gives places to few who do not read, takes them back, and serves again', async () => {
    await using world = new HistoryWorld()
    const keeper = await world.historian({ keep: [LOBBY] })
    await fill(keeper, ana.peerId)
    const stuck: Channel[] = []
    for (let count = 0; count < MAX_ANSWERS; count++) {
      const slow = await world.node()
      await world.connect(slow, keeper.node)
      const first = [askFrame(LOBBY.key, recordOf(slow.peerId), 1_000)]
      stuck.push(
        await slow.open(keeper.node.peerId, HISTORY_PROTOCOL, { first, maxFrameBytes: MAX_HISTORY_FRAME_BYTES })
      )
    }
    const honest = await world.node()
    const asked = askFrame(LOBBY.key, recordOf(honest.peerId), 1)
    await eventually('all places are taken', async () => {
      assert.deepEqual(await world.exchange(honest, keeper.node, asked), [{ refusal: { code: 'limit-reached' } }])
    })
    await eventually('those who do not read are dropped', () => {
      world.clock.advance(1_000)
      assert.ok(stuck.every(({ signal }) => signal.aborted))
    })
    assert.equal((await world.exchange(honest, keeper.node, asked)).length, 2)
  })

  it('keeps also what another keeper tells it', async () => {
    await using world = new HistoryWorld()
    const [first, second] = [await world.historian({ keep: [LOBBY] }), await world.historian({ keep: [LOBBY] })]
    const said = await sayAll(ana, range(1, 4))
    for (const message of said) first.history.take(message)
    second.history.take(said[3] as PastBroadcast)
    await ask(world, second, first.node)
    assert.deepEqual((await second.history.kept(LOBBY.id, 9)).map(label), said.map(label))
  })

  it('serves after a restart what it kept before', async () => {
    await using world = new HistoryWorld()
    const newcomer = await world.historian()
    const first = await world.historian({ keep: [LOBBY] })
    const said = await sayAll(ana, range(1, 10))
    for (const message of said) first.history.take(message)
    await first.close()
    const again = await world.historian({ keep: [LOBBY], store: first.store })
    const { messages } = await ask(world, newcomer, again.node)
    assert.deepEqual(messages.map(label), said.reverse().map(label))
  })
})

describe('a reader', () => {
  /** What it hears from a keeper that answers like this. */
  async function hears(answer: (channel: Channel) => void | Promise<void>, limit = 10): Promise<Answer> {
    await using world = new HistoryWorld()
    const liar = await world.impostor(answer)
    return await ask(world, await world.historian(), liar, limit)
  }

  const gives =
    (...frames: readonly Uint8Array[]) =>
    async (channel: Channel): Promise<void> => {
      for (const frame of frames) await channel.send(frame)
      await channel.close()
    }

  it('believes no keeper: a forged message ends the answer, and what was true before it counts', async () => {
    const [one, two, three] = await sayAll(ana, range(1, 3))
    assert.ok(one && two && three)
    const forged = Uint8Array.from(two.proof)
    forged[forged.length - 80] = (forged[forged.length - 80] ?? 0) ^ 1
    for (const lie of [
      forged,
      two.proof.subarray(0, 40),
      new Uint8Array(0),
      (await ana.say(2, { topic: ATTIC })).proof
    ]) {
      const { outcome, messages } = await hears(
        gives(entryFrame(one.proof), entryFrame(lie), entryFrame(three.proof), endFrame())
      )
      assert.equal(outcome, 'failed')
      assert.deepEqual(messages.map(label), [label(one)])
    }
  })

  it('leaves out what is from the future, or long past', async () => {
    const times = [START + 60_000, START + 3_600_000, START - KEPT_MS - 3_600_000]
    const frames: Uint8Array[] = []
    for (const [at, sentMs] of times.entries()) frames.push(entryFrame((await ana.say(at, { sentMs })).proof))
    const { outcome, messages } = await hears(gives(...frames, endFrame()))
    assert.equal(outcome, 'answered')
    assert.deepEqual(messages.map(label), [`${ana.peerId} 0`])
  })

  it('hears no more than it asked for from one that never ends', async () => {
    const said = await sayAll(ana, range(1, 20))
    let sent = 0
    const { outcome, messages } = await hears(async channel => {
      for (let at = 0; !channel.signal.aborted; at = (at + 1) % said.length) {
        await channel.send(entryFrame(said[at]?.proof ?? new Uint8Array(0)))
        sent++
      }
    }, 8)
    assert.equal(outcome, 'failed')
    assert.equal(messages.length, 8)
    assert.ok(sent < 10_000)
  })

  it('takes an answer without an end, a frame of another kind, or an oversized one for a failure', async () => {
    const one = await ana.say(1)
    for (const answer of [
      gives(entryFrame(one.proof)),
      gives(entryFrame(one.proof), askFrame(LOBBY.key, new Uint8Array(1), 1)),
      gives(entryFrame(one.proof), entryFrame(new Uint8Array(MAX_HISTORY_FRAME_BYTES - 8)))
    ]) {
      const { outcome, messages } = await hears(answer)
      assert.equal(outcome, 'failed')
      assert.deepEqual(messages.map(label), [label(one)])
    }
  })

  it('knows the reasons of a keeper, and calls any other a refusal', async () => {
    for (const code of ['not-kept', 'not-a-member', 'limit-reached'] as const) {
      assert.equal((await hears(gives(historyRefusalFrame(code)))).outcome, code)
    }
    assert.equal((await hears(gives(historyRefusalFrame('<script>' as never)))).outcome, 'refused')
  })

  it('waits for a silent keeper no longer than its time-out', async () => {
    await using world = new HistoryWorld()
    const silent = await world.impostor(async channel => {
      await new Promise(resolve => channel.signal.addEventListener('abort', resolve))
    })
    const newcomer = await world.historian()
    await world.connect(newcomer.node, silent)
    let answer: Answer | undefined
    const asking = ask(world, newcomer, silent).then(got => (answer = got))
    await world.network.settle()
    world.clock.advance(SILENCE_TIMEOUT_MS - 1)
    await world.network.settle()
    assert.equal(answer, undefined)
    world.clock.advance(1)
    assert.equal((await asking).outcome, 'failed')
  })

  it('says that a peer does not serve history, or is not there', async () => {
    await using world = new HistoryWorld()
    const [newcomer, plain] = [await world.historian(), await world.node()]
    assert.equal((await ask(world, newcomer, plain)).outcome, 'failed')
    const gone = await newcomer.history.ask(bob.peerId, LOBBY, 10, new AbortController().signal)
    assert.equal(gone.outcome, 'failed')
  })

  it('stops when its caller does', async () => {
    await using world = new HistoryWorld()
    const [newcomer, silent] = [await world.historian(), await world.impostor(() => new Promise(() => undefined))]
    await world.connect(newcomer.node, silent)
    const stop = new AbortController()
    const asking = newcomer.history.ask(silent.peerId, LOBBY, 10, stop.signal)
    stop.abort(new Error('enough'))
    await assert.rejects(asking, /enough/)
  })
})
