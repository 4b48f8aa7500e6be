import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PeerId } from '../../src/shared/core/address.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { type Random, seededRandom } from '../../src/shared/core/random.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { MAX_BROADCAST_SKEW_MS } from '../../src/shared/gossip/limits.ts'
import { FakeNetwork } from '../../src/shared/node/fake.ts'
import { FAKE_SEEN_MS, type FakeGossip } from '../../src/shared/node/fake-gossip.ts'
import { createIdentity, type Identity } from '../../src/shared/node/keys.ts'
import type { Node } from '../../src/shared/node/port.ts'
import { signPubsub } from '../../src/shared/node/pubsub.ts'
import { gossipTopic } from '../../src/shared/wire/broadcast.ts'
import { broadcastData, type Crier, crier, envelopeOf, reachable, SQUARE, texts } from '../support/criers.ts'
import { forged } from '../support/gossip-attacker.ts'

const COUNT = 48
const SPAMMERS = 16
const LINKS = 3
const ROUNDS = 8
/** What a spammer sends of each kind in a round. */
const SPAM = 4

interface Villain {
  readonly node: Node
  readonly gossip: FakeGossip
  readonly kind: Kind
  readonly heard: Uint8Array[]
  spam(): Promise<void>
}

type Kind = 'signature' | 'oversize' | 'record' | 'topic' | 'replay' | 'flood' | 'clock' | 'everything'
const KINDS: readonly Kind[] = ['signature', 'oversize', 'record', 'topic', 'replay', 'flood', 'clock', 'everything']
/** What honest members only ignore: they cannot tell a spammer from one who knows no better. */
const IGNORED: readonly Kind[] = ['replay', 'flood', 'clock']

/** A member that joins in properly, to be sent what others say, and then says what it should not. */
async function villain(world: World, identity: Identity, kind: Kind): Promise<Villain> {
  const { node, clock, honest } = world
  const gossip = node.gossip as FakeGossip
  const heard: Uint8Array[] = []
  gossip.subscribe(SQUARE.id, async ({ author, proof }) => {
    if (honest.has(author)) heard.push(proof) // who passes on what another spammer made up is pruned for that
    return 'ignore'
  })
  const envelope = await envelopeOf(node, clock.now())
  const elsewhere = await envelopeOf(node, clock.now(), await topicOf('elsewhere'))
  let seqno = 0n
  const sign = async (said: object, record = envelope, topicId = SQUARE.id): Promise<Uint8Array> => {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, ++seqno)
    const data = broadcastData(record, clock.now(), { sequence: Number(seqno), ...said })
    return await signPubsub(identity.privateKey, { data, seqno: bytes, topic: gossipTopic(node.network, topicId) })
  }
  const make: Record<Exclude<Kind, 'everything'>, () => Promise<Uint8Array>> = {
    signature: async () => forged(await sign({})),
    oversize: async () => await sign({ body: new Uint8Array(70_000) }),
    record: async () => await sign({}, elsewhere),
    topic: async () => await sign({}, envelope, (await topicOf('elsewhere')).id),
    // one that was captured, or a new message with a number that was used
    replay: async () => heard[Number(++seqno) % (2 * heard.length)] ?? (await sign({ sequence: 1 })),
    flood: async () => await sign({ body: new Uint8Array(16_000) }),
    clock: async () => await sign({ sentMs: clock.now() + 2 * MAX_BROADCAST_SKEW_MS })
  }
  return {
    node,
    gossip,
    kind,
    heard,
    async spam() {
      const kinds = kind === 'everything' ? KINDS.filter(each => each !== 'everything') : [kind]
      for (const each of kinds) {
        const count = each === 'flood' ? 8 * SPAM : SPAM
        for (let at = 0; at < count; at++) gossip.spread(SQUARE.id, await make[each]())
      }
    }
  }
}

interface World {
  readonly honest: ReadonlySet<PeerId>
  readonly node: Node
  readonly clock: ManualClock
}

/** Everybody dials a few others, until the honest ones hang together without the rest. */
async function tangle(honest: readonly Crier[], others: readonly Node[], random: Random): Promise<void> {
  const all = [...honest.map(({ node }) => node), ...others]
  for (let round = 0; round < 10; round++) {
    for (const node of all) {
      for (let link = 0; link < (round === 0 ? LINKS : 1); link++) {
        const other = all[Math.floor(random() * all.length)]
        if (other === undefined || other === node || node.isConnected(other.peerId)) continue
        await node.connect({ peerId: other.peerId, addresses: other.addresses })
      }
    }
    const [first] = honest
    if (first !== undefined && reachable(first, honest).length === honest.length - 1) return
  }
  throw new Error('the honest members never hung together')
}

describe('48 members at random, a third of them spamming', () => {
  it('honest messages reach every honest member once; tables stay small', { timeout: 120_000 }, async t => {
    const seed = Number(process.env.MUSTER_SEED ?? Date.now() % 1_000_000)
    t.diagnostic(`seed ${seed}`)
    const random = seededRandom(seed)
    await using scope = new Scope()
    const clock = new ManualClock()
    const network = new FakeNetwork({ clock, random })
    const honest = await Promise.all(
      Array.from({ length: COUNT - SPAMMERS }, async () =>
        crier(scope, scope.own(await network.createNode({ answersAlone: true })), { clock })
      )
    )
    const names = new Set(honest.map(({ node }) => node.peerId))
    const villains: Villain[] = []
    for (let at = 0; at < SPAMMERS; at++) {
      const identity = await createIdentity()
      const node = scope.own(await network.createNode({ identity, answersAlone: true }))
      villains.push(await villain({ honest: names, node, clock }, identity, KINDS[at % KINDS.length] as Kind))
    }
    await tangle(
      honest,
      villains.map(({ node }) => node),
      random
    )

    const said: Array<{ readonly by: Crier; readonly text: string }> = []
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(villains.map(each => each.spam()))
      for (let at = 0; at < 4; at++) {
        const by = honest[Math.floor(random() * honest.length)] as Crier
        const text = `${round} ${at}`
        await by.say(text)
        said.push({ by, text })
      }
      for (let turn = 0; turn < 200; turn++) {
        await network.settle()
        if (said.every(({ by, text }) => honest.every(each => each === by || texts(each).includes(text)))) break
        await new Promise(resolve => setTimeout(resolve, 5)) // signatures are verified elsewhere
      }
      // every few rounds what was captured is new to gossip again
      clock.advance(round % 4 === 3 ? FAKE_SEEN_MS + 1 : 1_000)
    }

    for (const each of honest) {
      const fromHonest = each.heard.filter(({ author }) => names.has(author))
      const wanted = said.filter(({ by }) => by !== each).map(({ text }) => text)
      assert.deepEqual(texts({ heard: fromHonest }).toSorted(), wanted.toSorted())
      const keys = each.heard.map(({ author, sequence }) => `${author} ${sequence}`)
      assert.equal(new Set(keys).size, keys.length, 'nothing twice')
      // the proof is the rest: only what a spammer may say as a member was taken from it
      assert.ok(each.heard.every(({ author, body }) => names.has(author) || body.length <= 16_000))
      assert.ok(each.feed.authors <= COUNT)
      assert.ok((each.node.gossip as FakeGossip).seenCount < COUNT * ROUNDS * SPAM * 12)
    }
    const judged = honest.map(each => each.judged)
    for (const outcome of ['invalid', 'replay', 'clock', 'rate'] as const) {
      assert.ok(
        judged.some(each => (each[outcome] ?? 0) > 0),
        `${outcome} was met`
      )
    }
    for (const { node, kind } of villains) {
      const neighbours = honest.filter(each => each.node.isConnected(node.peerId))
      const isPruned = neighbours.every(each => (each.node.gossip as FakeGossip).pruned.includes(node.peerId))
      if (neighbours.length === 0) continue // it met spammers only
      assert.equal(isPruned, !IGNORED.includes(kind), `${kind}: pruned by all ${neighbours.length} neighbours`)
    }
    for (const each of honest) {
      const pruned = (each.node.gossip as FakeGossip).pruned
      assert.deepEqual(
        pruned.filter(peerId => names.has(peerId)),
        [],
        'no honest one is pruned'
      )
    }
  })
})
