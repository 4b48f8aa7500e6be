import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createPeer } from '../../src/peer/peer.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { MAX_RUMOURS, MAX_VOUCHED_PER_PEER } from '../../src/shared/roster/limits.ts'
import { encodeFrames } from '../../src/shared/wire/frames.ts'
import { topicFrameCodec } from '../../src/shared/wire/topic.ts'
import { exchange, isReset, pour, rawStream, stranger, targetOf } from '../support/attacker.ts'
import { type Arena, LOBBY, openArena } from '../support/attacker-arena.ts'
import { type EvilLink, envelopeOf, evilLink, evilNode, madeUp } from '../support/attacker-member.ts'
import { eventually } from '../support/eventually.ts'
import { plainCaller } from '../support/plain.ts'

const TEST = { timeout: 60_000 }
const VICTIMS = ['bootstrap', 'peer'] as const
const ATTIC = await topicOf('attic')
const HOUR_MS = 3_600_000

const isDropped = (link: EvilLink, why: string): Promise<void> =>
  eventually(`the stream is broken off: ${why}`, () => link.channel.signal.aborted)

/** Whom ana lists, the attacker's inventions included. */
const listed = ({ anas }: Arena): string[] => anas.members().map(({ peerId }) => peerId)

/** Bob's record as it travels. */
const bobsRecord = async (arena: Arena): Promise<Uint8Array> => await recordOf(arena, arena.bob.node)

/** A member's record as it travels: whoever watches the topic is told. */
async function recordOf(arena: Arena, member: Libp2pNode): Promise<Uint8Array> {
  const evil = await evilNode(arena, member)
  const link = await evilLink(evil, member, { hello: { topic: LOBBY.key } })
  let envelope: Uint8Array | undefined
  await eventually('it answers', () => {
    envelope = link.heard.find(frame => frame.members !== undefined)?.members?.entries[0]?.envelope
    return envelope !== undefined
  })
  await evil.close()
  return envelope as Uint8Array
}

/** Tells of members whose large records make large answers: 64 with 16 addresses of 120 bytes are 130 KB. */
async function tellMany(link: EvilLink): Promise<void> {
  const addresses = Array.from({ length: 16 }, (_, i) => `/dns/${String(i).padStart(110, 'x')}/tcp/1`)
  for (let i = 0; i < 64; i++) {
    const envelope = await envelopeOf(await createIdentity(), LOBBY, { addresses })
    await link.say({ update: { topic: LOBBY.key, envelope } })
  }
  await link.settled(LOBBY)
}

for (const who of VICTIMS) {
  describe(`a ${who} is told lies in the topic protocol`, () => {
    it('drops a HELLO with a record that is not the sender’s, not of the topic, or not valid', TEST, async () => {
      await using arena = await openArena()
      const victim = arena.victim(who)
      const evil = await evilNode(arena, victim)
      const now = Date.now()
      const long = 'x'.repeat(200)
      const cases = {
        'another member’s': await bobsRecord(arena),
        'for another topic': await envelopeOf(evil, ATTIC),
        'signed by somebody else': await envelopeOf(
          { peerId: arena.bob.peerId, seal: (...what) => evil.seal(...what) },
          LOBBY
        ),
        expired: await envelopeOf(evil, LOBBY, { issuedMs: now - HOUR_MS, expiresMs: now - HOUR_MS / 2 }),
        'from the future': await envelopeOf(evil, LOBBY, { issuedMs: now + HOUR_MS, expiresMs: now + 1.5 * HOUR_MS }),
        'valid for a day': await envelopeOf(evil, LOBBY, { expiresMs: now + 24 * HOUR_MS }),
        'with a long name': await envelopeOf(evil, LOBBY, { name: long }),
        'with a long address': await envelopeOf(evil, LOBBY, { addresses: [`/dns/${long}/tcp/1`] }),
        'with 17 addresses': await envelopeOf(evil, LOBBY, {
          addresses: Array.from({ length: 17 }, (_, i) => `/ip4/127.0.0.1/tcp/${i + 1}`)
        }),
        'with a changed bit': (await envelopeOf(evil, LOBBY)).map((byte, i) => (i === 60 ? byte ^ 1 : byte))
      }
      await arena.withstands(async () => {
        for (const [what, envelope] of Object.entries(cases)) {
          await isDropped(await evilLink(evil, victim, { hello: { topic: LOBBY.key, envelope } }), what)
        }
      })
      assert.deepEqual(listed(arena), [arena.bob.peerId])
    })

    it('does not let an old goodbye, or an older record, hide a member that came back', TEST, async () => {
      await using arena = await openArena()
      const victim = arena.victim(who)
      const evil = await evilNode(arena, victim)
      const old = await bobsRecord(arena)
      const link = await evilLink(evil, victim, { hello: { topic: LOBBY.key } })
      await link.settled(LOBBY)
      const before = link.heard.length
      await arena.bobs.leave()
      let goodbye: Uint8Array | undefined
      await eventually('the attacker has the goodbye', () => {
        goodbye = link.heard.slice(before).find(({ update }) => update !== undefined)?.update?.envelope
        return goodbye !== undefined
      })
      arena.bobs = await arena.bob.join(LOBBY.name)
      await eventually(
        'they have met again',
        () => listed(arena).includes(arena.bob.peerId) && arena.bobs.members().length === 1
      )
      arena.left.length = 0
      await arena.withstands(async () => {
        for (const envelope of [goodbye, old, goodbye] as Uint8Array[]) {
          await link.say({ update: { topic: LOBBY.key, envelope } })
        }
        await link.settled(LOBBY)
      })
      assert.deepEqual(listed(arena), [arena.bob.peerId])
      const newcomer = await arena.newcomer()
      const group = await newcomer.join(LOBBY.name)
      await eventually('a newcomer is told of both', () => group.members().length === 2)
    })

    it('drops an answer to no question, and one that floods', TEST, async () => {
      await using arena = await openArena()
      const victim = arena.victim(who)
      const evil = await evilNode(arena, victim)
      const [envelope] = await madeUp(LOBBY, 1)
      assert.ok(envelope !== undefined)
      await arena.withstands(async () => {
        const entries = [{ envelope, isLive: true }]
        await isDropped(await evilLink(evil, victim, { members: { topic: LOBBY.key, entries } }), 'MEMBERS unasked')
        const flood = await evilLink(evil, victim, { hello: { topic: LOBBY.key } })
        while (!flood.channel.signal.aborted) await flood.say({ update: { topic: LOBBY.key, envelope } })
      })
    })

    it('does not fill up with made-up members', TEST, async () => {
      await using arena = await openArena()
      const victim = arena.victim(who)
      const evil = await evilNode(arena, victim)
      // the cap is reached on the bootstrap alone: the pair it serves dials every one of them, and a test has its time
      const count = who === 'bootstrap' ? MAX_VOUCHED_PER_PEER + 200 : 200
      const envelopes = await madeUp(LOBBY, count)
      await arena.withstands(async () => {
        // a member, so that its word counts
        const link = await evilLink(evil, victim, {
          hello: { topic: LOBBY.key, envelope: await envelopeOf(evil, LOBBY) }
        })
        for (const envelope of envelopes) await link.say({ update: { topic: LOBBY.key, envelope } })
        await link.settled(LOBBY)
        const total = link.heard.findLast(({ members }) => members !== undefined)?.members?.total ?? 0
        assert.ok(total >= Math.min(count, MAX_VOUCHED_PER_PEER), `the flood arrived: ${total}`)
        assert.ok(total <= MAX_VOUCHED_PER_PEER + 3, `${total} members are listed`)
      })
      await evil.close()
      await eventually(
        'nobody is left of them',
        async () => {
          const [topic] = who === 'bootstrap' ? (await arena.hub.status()).topics : (await arena.ana.status()).topics
          return topic !== undefined && topic.members <= 2
        },
        { withinMs: 40_000 }
      )
    })

    it('keeps a live member that a stranger calls lost', TEST, async () => {
      await using arena = await openArena()
      const victim = arena.victim(who)
      const evil = await evilNode(arena, victim)
      await arena.withstands(async () => {
        const envelope = await envelopeOf(evil, LOBBY)
        const link = await evilLink(evil, victim, { hello: { topic: LOBBY.key, envelope } })
        for (let i = 0; i < 200; i++) {
          for (const { peerId } of [arena.ana, arena.bob]) await link.say({ lost: { topic: LOBBY.key, peerId } })
        }
        await link.settled(LOBBY)
      })
      assert.ok(listed(arena).includes(arena.bob.peerId))
    })

    it('gives up a neighbour that asks and does not read', TEST, async () => {
      await using arena = await openArena()
      const victim = arena.victim(who)
      const evil = await evilNode(arena, victim)
      const link = await evilLink(evil, victim, {
        hello: { topic: LOBBY.key, envelope: await envelopeOf(evil, LOBBY) }
      })
      await tellMany(link)
      const mute = await stranger(arena, victim)
      const before = process.memoryUsage().rss
      await arena.withstands(async () => {
        const stream = await rawStream(mute, victim, 'topic/1.0.0')
        stream.pause()
        const hello = topicFrameCodec.encode({ hello: { topic: LOBBY.key } })
        pour(stream, encodeFrames(Array.from({ length: 1_900 }, () => hello)))
        await isReset(stream, 'it does not read')
      })
      const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20
      assert.ok(grownMiB < 128, `${Math.round(grownMiB)} MiB more`)
    })
  })
}

describe('a bootstrap that is closed', () => {
  it('does not wait for a neighbour that asked and does not read', TEST, async () => {
    await using arena = await openArena()
    const { node } = arena.hub
    const evil = await evilNode(arena, node)
    const link = await evilLink(evil, node, { hello: { topic: LOBBY.key, envelope: await envelopeOf(evil, LOBBY) } })
    await tellMany(link)
    const mute = await stranger(arena, node)
    const stream = await rawStream(mute, node, 'topic/1.0.0')
    stream.pause()
    // 60 answers of 130 KB, 7.8 MB: more than its window takes, fewer than a neighbour is given up for
    const hello = topicFrameCodec.encode({ hello: { topic: LOBBY.key } })
    pour(stream, encodeFrames(Array.from({ length: 60 }, () => hello)))
    await eventually('answers wait for it', () => stream.readBufferLength > 200_000)
    await arena.hub.close() // within the limit of the test
  })
})

describe('a stranger that is no member', () => {
  it('puts nobody on a member’s list', TEST, async () => {
    await using arena = await openArena()
    const evil = await evilNode(arena, arena.ana.node)
    const link = await evilLink(evil, arena.ana.node, { hello: { topic: LOBBY.key } })
    const shown = Promise.withResolvers<string>()
    arena.anas.on('member', ({ peerId }) => shown.resolve(peerId))
    for (const envelope of await madeUp(LOBBY, 10)) await link.say({ update: { topic: LOBBY.key, envelope } })
    await link.settled(LOBBY)
    const newcomer = await arena.newcomer() // whoever comes meanwhile has to be the first to be shown
    await newcomer.join(LOBBY.name)
    assert.equal(await shown.promise, newcomer.peerId)
  })

  for (const who of VICTIMS) {
    it(`has a ${who} tell nobody of those it made up`, TEST, async () => {
      await using arena = await openArena()
      const victim = arena.victim(who)
      const watcher = await evilLink(await evilNode(arena, victim), victim, { hello: { topic: LOBBY.key } })
      await watcher.settled(LOBBY)
      const before = watcher.heard.length
      await arena.withstands(async () => {
        const link = await evilLink(await evilNode(arena, victim), victim, { hello: { topic: LOBBY.key } })
        for (const envelope of await madeUp(LOBBY, 200)) await link.say({ update: { topic: LOBBY.key, envelope } })
        await link.settled(LOBBY)
      })
      await eventually(
        'all are found out, while the stranger is there',
        async () => who === 'peer' || (await arena.hub.status()).topics[0]?.members === 2,
        { withinMs: 40_000 }
      )
      await watcher.settled(LOBBY)
      const heard = watcher.heard.slice(before)
      assert.deepEqual(
        heard.filter(({ update, lost }) => update !== undefined || lost !== undefined),
        []
      )
      assert.equal(heard.findLast(({ members }) => members !== undefined)?.members?.total, 2)
    })
  }

  it('makes a bootstrap look for itself, so that a member it names is found if it is there', TEST, async () => {
    await using arena = await openArena()
    const hidden = arena.own(await createPeer({ memory: true, listen: '127.0.0.1:0', bootstrap: [] }))
    const group = await hidden.join(LOBBY.name)
    const envelope = await recordOf(arena, hidden.node)
    const evil = await evilNode(arena, arena.hub.node)
    const link = await evilLink(evil, arena.hub.node, { hello: { topic: LOBBY.key } })
    for (const each of await madeUp(LOBBY, MAX_RUMOURS + 100)) {
      await link.say({ update: { topic: LOBBY.key, envelope: each } })
    }
    // what another tells does not have to wait for all that
    const other = await evilNode(arena, arena.hub.node)
    const theirs = await evilLink(other, arena.hub.node, { hello: { topic: LOBBY.key } })
    await theirs.say({ update: { topic: LOBBY.key, envelope } })
    await eventually('ana and bob are told of it', () => {
      for (const each of [arena.anas, arena.bobs]) {
        assert.ok(each.members().some(({ peerId }) => peerId === hidden.peerId))
      }
      assert.equal(group.members().length, 2)
    })
    await arena.talk()
  })
})

describe('a bootstrap whose connections are all taken by sybils', () => {
  it('keeps its members and lets a newcomer in', TEST, async () => {
    await using arena = await openArena({ maxConnections: 20 })
    await arena.withstands(async () => {
      const sybils = await Promise.all(Array.from({ length: 20 }, () => plainCaller(arena)))
      await Promise.all(sybils.map(sybil => sybil.dial(targetOf(arena.hub.node)).catch(() => undefined)))
      const newcomer = await arena.newcomer()
      const group = await newcomer.join(LOBBY.name)
      await eventually('the newcomer meets both', () => group.members().length === 2)
      await eventually('ana lists it', () => listed(arena).includes(newcomer.peerId))
      await exchange(arena.anas, group, newcomer.peerId, 'welcome')
      await eventually('the node is within its limit', () => arena.hub.node.connections().length <= 20)
    })
    assert.ok(arena.hub.node.isConnected(arena.ana.peerId) && arena.hub.node.isConnected(arena.bob.peerId))
  })
})
