import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Stream } from '@libp2p/interface'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { BROADCASTS_BURST_SEEN, BROADCASTS_PER_SECOND } from '../../src/shared/gossip/limits.ts'
import { FORGIVEN_PER_AUTHOR_BURST, FORGIVEN_PER_AUTHOR_PER_SECOND } from '../../src/shared/node/gossip-limits.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { gossipTopic } from '../../src/shared/wire/broadcast.ts'
import { broadcastData, type Crier, crier, envelopeOf, SQUARE } from '../support/criers.ts'
import { eventually } from '../support/eventually.ts'
import { rpcFrame, signer, spammer } from '../support/gossip-attacker.ts'
import { ourNode, Scope } from '../support/plain.ts'

const TEST = { timeout: 60_000 }
const TOPIC = gossipTopic('traps', SQUARE.id)
const IN_ONE_RPC = 50

/** A member whose clock stands still, so that no author's rate recovers, and a neighbour that passes on what others say. */
async function memberAndNeighbour(scope: Scope) {
  const clock = new ManualClock(Date.now())
  const node = await ourNode(scope, { mayBeAlone: true })
  const member = await crier(scope, node, { clock })
  const neighbour = await spammer(scope, await createIdentity(), TOPIC)
  const stream = await neighbour.attack(node.libp2p)
  const score = (): number => {
    assert.ok(node.gossip.running !== undefined)
    return node.gossip.running.scoreOf(neighbour.peerId)
  }
  return { clock, member, stream, score }
}

/** `count` messages of a new author, over somebody else's stream. */
async function passOn(stream: Stream, clock: ManualClock, count: number): Promise<void> {
  const author = await createIdentity()
  const sign = signer(author, TOPIC)
  const envelope = await envelopeOf(author, clock.now())
  let messages: Uint8Array[] = []
  for (let sequence = 1; sequence <= count; sequence++) {
    messages.push(await sign(broadcastData(envelope, clock.now(), { sequence })))
    if (messages.length < IN_ONE_RPC && sequence < count) continue
    stream.send(rpcFrame({ messages }))
    messages = []
  }
}

async function hasJudged({ judged }: Crier, taken: number, rate: number): Promise<void> {
  await eventually(`${taken} are taken, ${rate} not`, () => judged.taken === taken && judged.rate === rate)
}

describe('a neighbour that passes on more of others than we take', () => {
  it('is forgiven no less of one author than an honest one accepts, twice as much at once', () => {
    assert.equal(FORGIVEN_PER_AUTHOR_PER_SECOND, BROADCASTS_PER_SECOND)
    assert.equal(FORGIVEN_PER_AUTHOR_BURST, 2 * BROADCASTS_BURST_SEEN)
  })

  it('is not to blame for what it may have accepted itself, however many authors say too much', TEST, async () => {
    await using scope = new Scope()
    const { clock, member, stream, score } = await memberAndNeighbour(scope)
    for (let author = 0; author < 3; author++) await passOn(stream, clock, BROADCASTS_BURST_SEEN + 100)
    await hasJudged(member, 3 * BROADCASTS_BURST_SEEN, 300)
    assert.ok(score() >= 0, `its score is ${score()}`)
  })

  it('is to blame for what no honest one accepts', TEST, async () => {
    await using scope = new Scope()
    const { clock, stream, score } = await memberAndNeighbour(scope)
    await passOn(stream, clock, 1_500)
    await eventually('it is punished', () => assert.ok(score() < 0, `its score is ${score()}`))
  })
})
