import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cancelFrame, messageFrame, openFrame, partFrame, receiptFrame } from '../../src/peer/messaging/frame.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL, PART_BYTES } from '../../src/shared/wire/message.ts'
import { type Arena, LOBBY, openArena } from '../support/attacker-arena.ts'
import { envelopeOf, evilNode } from '../support/attacker-member.ts'
import { eventually } from '../support/eventually.ts'
import { heldBytes } from '../support/heap.ts'
import { placeOf } from '../support/plain.ts'

// A member, by its record, that harms over the message protocol what a stranger would not get near.

const TEST = { timeout: 120_000 }
const MIB = 1_048_576
const ONE = new TextEncoder().encode('1')

/** A way to speak to ana; each call opens another stream. */
async function evilMember(arena: Arena): Promise<(session: number, ...first: Uint8Array[]) => Promise<Channel>> {
  const evil = await evilNode(arena, arena.ana.node)
  const envelope = await envelopeOf(evil, LOBBY)
  return async (session, ...more) => {
    const open = openFrame({ topic: LOBBY.key, envelope, session, maxBytes: 2 ** 53 - 1 })
    await evil.connect(placeOf(arena.ana.node)) // again, should it have been put out
    const limits = { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, first: [open, ...more] }
    return await evil.open(arena.ana.peerId, MESSAGE_PROTOCOL, limits)
  }
}

/** Says all of it while the stream lasts, and reads nothing. */
async function shout(channel: Channel, count: number, frame: (at: number) => Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < count; at++) await channel.send(frame(at))
  } catch {
    // broken off: the channel's signal tells
  }
}

describe('a member that harms over the message protocol', () => {
  it('by never reading its answers is cut off', TEST, async () => {
    await using arena = await openArena()
    const open = await evilMember(arena)
    await arena.withstands(async () => {
      const channel = await open(1)
      await shout(channel, 300_000, at => messageFrame({ id: at * 2 + 1, kind: 0, body: ONE }))
      await eventually('the stream is broken off', () => channel.signal.aborted)
    })
  })

  it('by saying what has no meaning loses its stream, and nobody else anything', TEST, async () => {
    await using arena = await openArena()
    const open = await evilMember(arena)
    const body = new Uint8Array(PART_BYTES)
    const wrong: Record<string, readonly Uint8Array[]> = {
      'a receipt for nothing': [receiptFrame(2 ** 53 - 1, 1)],
      'a part of nothing': [partFrame(1, body)],
      'a value that goes on after its cancel': [
        messageFrame({ id: 1, kind: 1, body, size: 2 ** 20 }),
        cancelFrame(1),
        partFrame(1, body)
      ],
      'a value that is shorter than a part': [messageFrame({ id: 1, kind: 1, body: ONE, size: 2 ** 20 })],
      'a value that is not compressed': [messageFrame({ id: 1, kind: 1, body: ONE, encoding: 2, rawSize: 2 ** 25 })],
      'too many claims': Array.from({ length: 17 }, (_, at) =>
        messageFrame({ id: at + 1, kind: 1, body, size: 2 ** 50 })
      )
    }
    let session = 1
    for (const [what, frames] of Object.entries(wrong)) {
      await arena.withstands(async () => {
        const channel = await open(session++)
        await shout(channel, frames.length, at => frames[at] ?? ONE)
        await eventually(`the stream is broken off: ${what}`, () => channel.signal.aborted)
      })
    }
  })

  it('by claiming all the room there is, again and again, leaves all of it behind', TEST, async () => {
    await using arena = await openArena()
    const open = await evilMember(arena)
    const body = new Uint8Array(PART_BYTES)
    await arena.withstands(async () => {
      for (let session = 1; session <= 40; session++) {
        const channel = await open(session)
        await shout(channel, 4, at => messageFrame({ id: at + 1, kind: 1, body, size: 64 * MIB }))
        channel.abort(new Error('and away'))
      }
    })
    arena.anas.on('message', () => undefined)
    await arena.bobs.send(arena.ana.peerId, new Uint8Array(64 * MIB), { timeoutMs: 60_000 })
  })

  it('by a thousand sessions and a storm of cancels is not remembered for it', TEST, async () => {
    await using arena = await openArena()
    const open = await evilMember(arena)
    const storm = async (session: number): Promise<void> => {
      const channel = await open(session)
      await shout(channel, 50, at => messageFrame({ id: at + 1, kind: 0, body: ONE, mayRepeat: true }))
      await shout(channel, 50, at => cancelFrame(at))
      channel.abort(new Error('and again'))
    }
    arena.anas.on('message', () => undefined)
    for (let session = 1; session <= 100; session++) await storm(session)
    const before = await heldBytes()
    await arena.withstands(async () => {
      for (let session = 101; session <= 1100; session++) await storm(session)
    })
    const grownBytes = (await heldBytes()) - before
    assert.ok(grownBytes < 16 * MIB, `${grownBytes} bytes`)
  })
})
