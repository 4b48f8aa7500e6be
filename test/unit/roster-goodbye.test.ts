import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { unseal } from '../../src/shared/node/keys.ts'
import { signRecord } from '../../src/shared/roster/record.ts'
import { createRoster } from '../../src/shared/roster/roster.ts'
import { RosterRows } from '../../src/shared/roster/rows.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { MAX_TOPIC_FRAME_BYTES, TOPIC_PROTOCOL, topicFrameCodec } from '../../src/shared/wire/topic.ts'

it('the goodbye of a member that is not listed is remembered, and takes back its provider record', async () => {
  await using scope = new Scope()
  const network = new FakeNetwork()
  const store = memoryStore()
  const bootstrap = scope.own(await network.createNode({ answersAlone: true, store }))
  const rows = new RosterRows(store.datastore)
  scope.own(await createRoster({ node: bootstrap, unseal, rows }, { keepsEveryTopic: true }))
  const member = scope.own(await network.createNode())
  await member.connect({ peerId: bootstrap.peerId, addresses: bootstrap.addresses })
  const { key } = await topicOf('lobby')
  assert.ok((await member.dht.provide(key)).includes(bootstrap.peerId))

  const now = Date.now()
  const times = { sequence: now, issuedMs: now, expiresMs: now + 60_000 }
  const goodbye = await signRecord(member, { topicKey: key, ...times, addresses: [], name: undefined, left: true })
  // the answer to the question behind it says that the goodbye has been dealt with
  const channel = await member.open(bootstrap.peerId, TOPIC_PROTOCOL, {
    first: [{ update: { topic: key, envelope: goodbye.envelope } }, { hello: { topic: key } }].map(frame =>
      topicFrameCodec.encode(frame)
    ),
    maxFrameBytes: MAX_TOPIC_FRAME_BYTES
  })
  await channel.frames[Symbol.asyncIterator]().next()

  const kept = await Array.fromAsync(rows.all(), ({ envelope }) => envelope)
  assert.deepEqual(kept, [goodbye.envelope])
  assert.equal((await bootstrap.dht.counts()).providers, 0)
})

it('an old goodbye that a stranger says again does not take back a provider record', async () => {
  await using scope = new Scope()
  const network = new FakeNetwork()
  const bystander = scope.own(await network.createNode({ answersAlone: true }))
  scope.own(await createRoster({ node: bystander, unseal })) // in no topic: it just holds rows
  const member = scope.own(await network.createNode())
  await member.connect({ peerId: bystander.peerId, addresses: bystander.addresses })
  const { key } = await topicOf('lobby')
  const say = async (issuedMs: number): Promise<void> => {
    const times = { sequence: issuedMs, issuedMs, expiresMs: issuedMs + 60 * 60_000 }
    const goodbye = await signRecord(member, { topicKey: key, ...times, addresses: [], name: undefined, left: true })
    const frames = [{ update: { topic: key, envelope: goodbye.envelope } }, { hello: { topic: key } }]
    const first = frames.map(frame => topicFrameCodec.encode(frame))
    const channel = await member.open(bystander.peerId, TOPIC_PROTOCOL, { first, maxFrameBytes: MAX_TOPIC_FRAME_BYTES })
    await channel.frames[Symbol.asyncIterator]().next()
  }
  assert.ok((await member.dht.provide(key)).includes(bystander.peerId))
  await say(Date.now() - 10 * 60_000)
  assert.equal((await bystander.dht.counts()).providers, 1)
  await say(Date.now())
  assert.equal((await bystander.dht.counts()).providers, 0)
})
