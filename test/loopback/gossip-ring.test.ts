import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { seededRandom } from '../../src/shared/core/random.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { type Crier, crier, reachable, ring, texts } from '../support/criers.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, Scope } from '../support/plain.ts'

const COUNT = 20
const KILLS = 6
const TEST = { timeout: 120_000 }

async function circle(scope: Scope): Promise<Crier[]> {
  const criers = await Promise.all(
    Array.from({ length: COUNT }, async () => await crier(scope, await ourNode(scope, { mayBeAlone: true })))
  )
  await ring(criers)
  return criers
}

/** The process is gone: its sockets close, nobody says goodbye. */
async function kill({ node, feed }: Crier): Promise<void> {
  const { libp2p } = node as Libp2pNode
  for (const connection of libp2p.getConnections()) connection.abort(new Error('killed'))
  await feed.close()
  await node.close()
}

describe('20 nodes in a ring, two neighbours each', () => {
  it('hear what each of them says, once', TEST, async () => {
    await using scope = new Scope()
    const criers = await circle(scope)
    for (const [at, { say }] of criers.entries()) await say(`from ${at}`)
    const all = criers.map((_, at) => `from ${at}`)
    await eventually('everybody heard everybody', () => criers.every(({ heard }) => heard.length >= COUNT - 1))
    for (const [at, each] of criers.entries()) {
      assert.deepEqual(texts(each).toSorted(), all.filter((_, from) => from !== at).toSorted())
    }
    // the farthest is ten hops away: no link was added
    for (const { node } of criers) assert.equal(node.connections().length, 2)
  })

  it('reach all they are connected with while one is killed each second', TEST, async t => {
    const seed = Date.now() % 1_000_000
    t.diagnostic(`seed ${seed}`)
    const random = seededRandom(seed)
    await using scope = new Scope()
    let living = await circle(scope)
    for (let round = 0; round < KILLS; round++) {
      const victim = living[Math.floor(random() * living.length)]
      assert.ok(victim !== undefined)
      living = living.filter(each => each !== victim)
      const neighbours = living.filter(({ node }) => node.isConnected(victim.node.peerId))
      await kill(victim)
      await eventually('its neighbours see it go', () =>
        neighbours.every(({ node }) => !node.isConnected(victim.node.peerId))
      )
      const speaker = living[Math.floor(random() * living.length)]
      assert.ok(speaker !== undefined)
      const text = `round ${round}`
      await speaker.say(text)
      const audience = reachable(speaker, living)
      await eventually('all that are connected hear it', () => audience.every(each => texts(each).includes(text)))
      const outside = living.filter(each => each !== speaker && !audience.includes(each))
      assert.ok(outside.every(each => !texts(each).includes(text)))
      await delay(1_000) // the pace of the kills, nothing is waited for
    }
    for (const each of living) assert.equal(new Set(texts(each)).size, each.heard.length, 'each once')
  })

  it('are one again when the ends of what is left find each other', TEST, async () => {
    await using scope = new Scope()
    const criers = await circle(scope)
    const gone = criers.filter((_, at) => at % 5 === 0)
    await Promise.all(gone.map(kill))
    const living = criers.filter(each => !gone.includes(each))
    for (let at = 0; at < COUNT; at += 5) {
      const [before, after] = [criers.at(at - 1), criers.at(at + 1)]
      assert.ok(before !== undefined && after !== undefined)
      await before.node.connect({ peerId: after.node.peerId, addresses: after.node.addresses })
    }
    const [speaker] = living
    assert.ok(speaker !== undefined)
    let said = 0
    await eventually('what is said reaches everybody again', async () => {
      const text = `again ${++said}`
      await speaker.say(text)
      await eventually('all', () => living.every(each => each === speaker || texts(each).includes(text)), {
        withinMs: 1_000
      })
    })
  })
})
