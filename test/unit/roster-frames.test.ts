import assert from 'node:assert/strict'
import { it } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { unseal } from '../../src/shared/node/keys.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { MAX_TOPICS, TOPIC_CLOSE_MS } from '../../src/shared/roster/limits.ts'
import { openRecord } from '../../src/shared/roster/record.ts'
import { createRoster } from '../../src/shared/roster/roster.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, type TopicFrame, topicFrameCodec } from '../../src/shared/wire/topic.ts'
import { eventually } from '../support/eventually.ts'

const lobby = await topicOf('lobby')

/** A bootstrap's roster, and a stranger with a bare topic stream to it. */
async function bareLink(scope: Scope, clock: ManualClock, first: TopicFrame): Promise<Channel> {
  const network = new FakeNetwork()
  const bootstrap = scope.own(await network.createNode({ answersAlone: true }))
  scope.own(await createRoster({ node: bootstrap, unseal, clock }, { keepsEveryTopic: true }))
  const stranger = scope.own(await network.createNode())
  await stranger.connect({ peerId: bootstrap.peerId, addresses: bootstrap.addresses })
  return await stranger.open(bootstrap.peerId, TOPIC_PROTOCOL, {
    first: [topicFrameCodec.encode(first)],
    maxFrameBytes: MAX_TOPIC_FRAME_BYTES
  })
}

it('a frame that says two things ends its stream', async () => {
  await using scope = new Scope()
  const { key } = await topicOf('lobby')
  const channel = await bareLink(scope, new ManualClock(), { unwatch: { topic: key }, hello: { topic: key } })
  await eventually('the stream is reset', () => channel.signal.aborted)
  assert.ok(isMusterError(channel.signal.reason))
})

it(`a stream watches at most ${MAX_TOPICS} topics`, async () => {
  await using scope = new Scope()
  const clock = new ManualClock()
  const { key } = await topicOf('lobby')
  const topicAt = (at: number): Uint8Array => {
    const topic = Uint8Array.from(key)
    new DataView(topic.buffer).setUint32(4, at)
    return topic
  }
  const channel = await bareLink(scope, clock, { hello: { topic: topicAt(0) } })
  const answers = channel.frames[Symbol.asyncIterator]()
  let last: TopicFrame | undefined
  for (let at = 0; at <= MAX_TOPICS; at++) {
    if (at > 0) await channel.send(topicFrameCodec.encode({ hello: { topic: topicAt(at) } }))
    const { value } = await answers.next()
    last = topicFrameCodec.decode(value)
    assert.equal(last.members !== undefined, at < MAX_TOPICS)
    clock.advance(10) // slower than the rate that is allowed
  }
  assert.equal(last?.refusal?.code, 'limit-reached')
})

/** A member's roster, and a neighbour that said HELLO over a bare topic stream. */
async function memberAndNeighbour(scope: Scope, clock: ManualClock) {
  const network = new FakeNetwork()
  const node = scope.own(await network.createNode({ answersAlone: true }))
  const roster = scope.own(await createRoster({ node, unseal, clock }))
  await roster.enter(lobby, 'ana')
  const neighbour = scope.own(await network.createNode())
  await neighbour.connect({ peerId: node.peerId, addresses: node.addresses })
  const channel = await neighbour.open(node.peerId, TOPIC_PROTOCOL, {
    first: [topicFrameCodec.encode({ hello: { topic: lobby.key } })],
    maxFrameBytes: MAX_TOPIC_FRAME_BYTES
  })
  const frames = channel.frames[Symbol.asyncIterator]()
  assert.ok(topicFrameCodec.decode((await frames.next()).value).members !== undefined)
  return { network, roster, channel, frames }
}

it('a roster that is closed waits until its neighbours have read what it said', async () => {
  await using scope = new Scope()
  const { network, roster, channel, frames } = await memberAndNeighbour(scope, new ManualClock())
  await roster.exit(lobby.id, [])
  let isClosed = false
  const closing = roster.close().then(() => {
    isClosed = true
  })
  await network.settle()
  assert.equal(isClosed, false)
  assert.ok(topicFrameCodec.decode((await frames.next()).value).update !== undefined)
  assert.equal((await frames.next()).done, true)
  await network.settle()
  assert.equal(isClosed, false)
  await channel.close()
  await closing
})

it('a roster that is closed does not wait long for a neighbour that does not read', async () => {
  await using scope = new Scope()
  const clock = new ManualClock()
  const { network, roster, channel } = await memberAndNeighbour(scope, clock)
  const closing = roster.close()
  await network.settle()
  clock.advance(TOPIC_CLOSE_MS)
  await closing
  await eventually('the stream is done with', () => channel.signal.aborted)
})

it('whoever asks for a topic that was just left hears the goodbye before the refusal', async () => {
  await using scope = new Scope()
  const network = new FakeNetwork()
  const node = scope.own(await network.createNode({ answersAlone: true }))
  const roster = scope.own(await createRoster({ node, unseal }))
  await roster.enter(lobby, 'ana')
  const neighbour = scope.own(await network.createNode())
  await neighbour.connect({ peerId: node.peerId, addresses: node.addresses })
  const leaving = roster.exit(lobby.id, [])
  const channel = await neighbour.open(node.peerId, TOPIC_PROTOCOL, {
    first: [topicFrameCodec.encode({ hello: { topic: lobby.key } })],
    maxFrameBytes: MAX_TOPIC_FRAME_BYTES
  })
  await leaving
  const answers = channel.frames[Symbol.asyncIterator]()
  const next = async (): Promise<TopicFrame> => topicFrameCodec.decode((await answers.next()).value)
  const { update } = await next()
  assert.ok(update !== undefined)
  assert.equal((await openRecord(update.envelope, unseal, Date.now())).left, true)
  assert.equal((await next()).refusal?.code, 'not-a-member')
})
