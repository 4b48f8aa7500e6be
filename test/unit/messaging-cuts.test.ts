import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { MusterError } from '../../src/shared/core/errors.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { PART_BYTES } from '../../src/shared/wire/message.ts'
import { heldBytes } from '../support/heap.ts'
import { LOBBY, World } from '../support/messaging-world.ts'

const MIB = 1_048_576
const seed = 31
const CUTS = 10_000
/** Room for one value of this length: one that is not given back is missed by the next. */
const LONGEST = 6 * PART_BYTES

describe('values in parts that are cut', () => {
  it(`ten thousand times, anywhere, at either end, leave nothing behind (seed ${seed})`, {
    timeout: 300_000
  }, async () => {
    await using world = new World()
    const limits = { maxMessageBytes: LONGEST, maxPeerBytes: LONGEST }
    const [ana, bob] = [await world.talker(limits), await world.talker(limits)]
    const random = seededRandom(seed)
    const value = new Uint8Array(LONGEST)
    const codes = new Map<string, number>()
    let taken = 0
    bob.deliver = delivery => {
      taken++
      assert.ok((delivery.value as Uint8Array).length >= 2 * PART_BYTES)
    }
    async function cutOne(): Promise<void> {
      const length = 2 * PART_BYTES + Math.floor(random() * (LONGEST - 2 * PART_BYTES))
      const cancel = new AbortController()
      const cuts: ReadonlyArray<() => unknown> = [
        () => cancel.abort(),
        () => ana.node.disconnect(bob.node.peerId),
        () => bob.node.disconnect(ana.node.peerId),
        () => ana.messaging.abandon(LOBBY.id, bob.node.peerId),
        () => bob.messaging.forget(LOBBY.id)
      ]
      const cut = cuts[Math.floor(random() * cuts.length)]
      const after = Math.floor(random() * length)
      const turns = Math.floor(random() * 4)
      let isCut = false
      const onProgress = async ({ bytes }: { bytes: number }): Promise<void> => {
        if (isCut || bytes < after) return
        isCut = true
        for (let turn = 0; turn < turns; turn++) await new Promise(resolve => setImmediate(resolve))
        await cut?.()
      }
      const code = await ana
        .send(bob, value.subarray(0, length), {
          signal: cancel.signal,
          onProgress: progress => void onProgress(progress)
        })
        .then(
          () => 'receipt',
          (thrown: MusterError) => thrown.code
        )
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
    for (let count = 0; count < 200; count++) await cutOne()
    await world.network.settle()
    const before = await heldBytes()
    for (let count = 0; count < CUTS; count++) await cutOne()
    await world.network.settle()
    const grownBytes = (await heldBytes()) - before

    const said = JSON.stringify(Object.fromEntries(codes))
    assert.ok((codes.get('aborted') ?? 0) > CUTS / 20 && (codes.get('gone') ?? 0) > CUTS / 20, said)
    assert.deepEqual(
      [...codes.keys()].filter(code => !['receipt', 'aborted', 'gone', 'closed'].includes(code)),
      [],
      said
    )
    assert.ok(taken >= (codes.get('receipt') ?? 0))
    assert.ok(grownBytes < 2 * MIB, `${grownBytes} bytes after ${said}`)
    // all the room there is, both ways
    bob.deliver = async ({ request }) => void (await request?.respond(value))
    assert.equal(((await ana.ask(bob, value)).value as Uint8Array).length, LONGEST)
  })
})
