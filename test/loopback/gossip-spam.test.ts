import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Stream } from '@libp2p/interface'
import { seededRandom } from '../../src/shared/core/random.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { gossipTopic } from '../../src/shared/wire/broadcast.ts'
import { broadcastData, type Crier, crier, envelopeOf, reachable, SQUARE, texts } from '../support/criers.ts'
import { eventually } from '../support/eventually.ts'
import { forged, rpcFrame, type Spammer, spammer } from '../support/gossip-attacker.ts'
import { ourNode, placeOf, Scope } from '../support/plain.ts'

const HONEST = 32
const SPAMMERS = 16
const LINKS = 3
const ROUNDS = 5
const TOPIC = gossipTopic('traps', SQUARE.id)
const GRAYLISTED = -80

const running = ({ node }: Crier) => {
  const gossip = (node as Libp2pNode).gossip.running
  assert.ok(gossip !== undefined)
  return gossip
}

/** Kinds of rubbish, each from members with a name and a proper record. */
type Kind = 'signature' | 'oversize' | 'garbage' | 'flood'
const KINDS: readonly Kind[] = ['signature', 'oversize', 'garbage', 'flood']

/** A spammer, and whom it is at. */
interface Gang {
  readonly by: Spammer
  readonly kind: Kind
  readonly envelope: Uint8Array
  readonly streams: Stream[]
  readonly victims: readonly Crier[]
}

describe('48 nodes at random, a third of them spamming', () => {
  it('honest messages reach every honest member, spammers are graylisted, tables stay small', {
    timeout: 300_000
  }, async t => {
    const seed = Number(process.env.MUSTER_SEED ?? Date.now() % 1_000_000)
    t.diagnostic(`seed ${seed}`)
    const random = seededRandom(seed)
    const some = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
    await using scope = new Scope()
    const honest = await Promise.all(
      Array.from({ length: HONEST }, async () => await crier(scope, await ourNode(scope, { mayBeAlone: true })))
    )
    const [first] = honest
    assert.ok(first !== undefined)
    do {
      for (const { node } of honest) {
        for (let link = 0; link < LINKS; link++) {
          const other = some(honest).node as Libp2pNode
          if (other !== node) await node.connect(placeOf(other))
        }
      }
    } while (reachable(first, honest).length < HONEST - 1)

    const spammers: Gang[] = []
    for (let at = 0; at < SPAMMERS; at++) {
      const identity = await createIdentity()
      const by = await spammer(scope, identity, TOPIC)
      const victims = [...new Set(Array.from({ length: LINKS }, () => some(honest)))]
      const streams: Stream[] = []
      for (const { node } of victims) streams.push(await by.attack((node as Libp2pNode).libp2p))
      const envelope = await envelopeOf(identity, Date.now())
      spammers.push({ by, kind: KINDS[at % KINDS.length] as Kind, envelope, streams, victims })
    }
    // small: what counts is how often somebody speaks, and 48 nodes in one process are slow with more bytes than that
    const body = new Uint8Array(100)
    let number = 0
    const rubbish = async ({ by, kind, envelope }: Gang): Promise<Uint8Array> => {
      const now = Date.now()
      if (kind === 'garbage') return await by.sign(Uint8Array.of(1, 2, 3, ++number & 255))
      if (kind === 'oversize') return await by.sign(broadcastData(envelope, now, { body: new Uint8Array(70_000) }))
      const proof = await by.sign(broadcastData(envelope, now, { sequence: ++number, body }))
      return kind === 'signature' ? forged(proof) : proof
    }

    const spam = async (gang: Gang, count: number): Promise<void> => {
      for (let at = 0; at < count; at++) {
        const rpc = rpcFrame({ messages: [await rubbish(gang)] })
        for (const stream of gang.streams) {
          try {
            stream.send(rpc)
          } catch {
            // reset: what was to be reached
          }
        }
      }
    }

    const said: Array<{ readonly by: Crier; readonly text: string }> = []
    for (let round = 0; round < ROUNDS; round++) {
      for (const gang of spammers) await spam(gang, gang.kind === 'flood' ? 300 : 8)
      const by = some(honest)
      const text = `round ${round}`
      await by.say(text)
      said.push({ by, text })
    }
    await eventually(
      'every honest member heard all that honest ones said',
      () => honest.every(each => said.every(({ by, text }) => by === each || texts(each).includes(text))),
      { withinMs: 120_000 }
    )
    await eventually(
      'the spammers are out of every mesh, and those that lied are not listened to',
      async () => {
        for (const gang of spammers.filter(({ kind }) => kind === 'flood')) await spam(gang, 20) // it goes on and on
        for (const { by, kind, victims } of spammers) {
          for (const victim of victims) {
            const score = running(victim).scoreOf(by.peerId)
            assert.ok(score < (kind === 'flood' ? 0 : GRAYLISTED), `${kind}: ${score}`)
            assert.ok(!victim.node.gossip.neighbours(SQUARE.id).includes(by.peerId), `${kind} is a neighbour`)
          }
        }
      },
      { withinMs: 120_000 }
    )
    const names = new Set(honest.map(({ node }) => node.peerId))
    for (const each of honest) {
      const { peers, topics, scores, messages } = running(each).tables()
      assert.ok(peers <= HONEST + SPAMMERS && topics <= 1 && scores <= HONEST + SPAMMERS, 'tables of gossipsub')
      assert.ok(messages <= 8 * 200, `${messages} messages are kept to pass on`)
      assert.ok(each.feed.authors <= HONEST + SPAMMERS)
      const keys = each.heard.map(({ author, sequence }) => `${author} ${sequence}`)
      assert.equal(new Set(keys).size, keys.length, 'nothing twice')
      for (const name of names) {
        const score = running(each).scoreOf(name)
        if (each.node.isConnected(name)) assert.ok(score >= 0, `an honest one is punished: ${score}`)
      }
    }
  })
})
