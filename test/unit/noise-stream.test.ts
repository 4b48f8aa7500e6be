import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seededRandom } from '../../src/shared/core/random.ts'
import { MAX_UNSENT_CONNECTION_BYTES } from '../../src/shared/node/limits.ts'
import type { NoiseStream } from '../../src/shared/node/noise-stream.server.ts'
import { eventually } from '../support/eventually.ts'
import { dataPhase, Ear, forged, handshake, type Maker, messageLengths } from '../support/noise.ts'
import { wire } from '../support/wire.ts'

const PAIRS: ReadonlyArray<readonly [Maker, Maker]> = [
  ['ours', 'ours'],
  ['ours', 'stock'],
  ['stock', 'ours']
]
const SEED = Number(process.env.MUSTER_SEED ?? Math.floor(Math.random() * 1_000_000))
const TEXT = (text: string): Buffer => Buffer.from(text)

/** Strings of bytes of every size that is special to somebody. */
function sayings(random: () => number): Buffer[] {
  const lengths = [1, 0, 2, 65_519, 65_520, 16_384, 16_385, 1_199, 1_200, 300_000, 15, 16, 131_038, 7]
  for (let i = 0; i < 2_000; i++) lengths.push(Math.floor(random() * 100))
  return lengths.map((length, i) => Buffer.alloc(length, i + 1))
}

async function say(stream: Ear['stream'], all: readonly Uint8Array[], random: () => number): Promise<void> {
  for (const bytes of all) {
    if (!stream.send(bytes)) await new Promise(resolve => stream.addEventListener('drain', resolve, { once: true }))
    if (random() < 0.05) await new Promise(setImmediate)
  }
}

for (const [dialling, listening] of PAIRS) {
  describe(`Noise, ${dialling} dials ${listening} (MUSTER_SEED=${SEED})`, () => {
    it('proves who both are, and names the muxer inside the handshake', async () => {
      const { dialler, listener, ids } = await handshake([dialling, listening], wire({}, SEED))
      assert.deepEqual([listener.remotePeer.toString(), dialler.remotePeer.toString()], ids)
      assert.deepEqual([dialler.streamMuxer?.protocol, listener.streamMuxer?.protocol], ['/a/muxer', '/a/muxer'])
    })

    it('names no muxer when it is to be negotiated later', async () => {
      const skip = { skipStreamMuxerNegotiation: true }
      const { dialler, listener } = await handshake([dialling, listening], wire({}, SEED), skip)
      assert.deepEqual([dialler.streamMuxer, listener.streamMuxer], [undefined, undefined])
    })

    for (const [how, cut] of [
      ['cut anywhere', undefined],
      ['all at once', (available: number) => available],
      ['byte by byte to begin with', (available: number) => Math.min(available, ++cuts < 700 ? 1 : 50_000)]
    ] as const) {
      it(`carries everything both ways, unchanged and in order, ${how}`, async () => {
        cuts = 0
        const random = seededRandom(SEED)
        const { dialler, listener } = await handshake(
          [dialling, listening],
          wire(cut === undefined ? {} : { cut }, SEED)
        )
        const ears = [new Ear(dialler.connection), new Ear(listener.connection)] as const
        const all = sayings(random)
        await Promise.all(ears.map(({ stream }) => say(stream, all, random)))
        const expected = Buffer.concat(all)
        await eventually('all is there', () => ears.every(({ bytes }) => bytes >= expected.length))
        for (const { heard } of ears) assert.ok(heard.equals(expected))
      })
    }

    it('loses nothing of what comes together with the end of the handshake, before anybody listens', async () => {
      const ends = wire({ cut: available => available }, SEED)
      const { listener } = await handshake([dialling, listening], ends, { say: Buffer.alloc(100_000, 'x') })
      await new Promise(resolve => setTimeout(resolve, 5))
      const ear = new Ear(listener.connection)
      await eventually('it is heard', () => ear.heard.equals(Buffer.alloc(100_000, 'x')))
    })
  })
}
let cuts = 0

describe('the data phase of a Noise connection', () => {
  it('sends everything of one turn as one write, in as few messages as it takes', async () => {
    const ends = wire()
    const { dialler, listener } = dataPhase(ends)
    const ear = new Ear(listener)
    for (let i = 0; i < 1_000; i++) {
      dialler.send(TEXT('0123456789'))
      if (i % 10 === 0) await Promise.resolve()
    }
    await eventually('all is there', () => ear.bytes === 10_000)
    assert.equal(ends[0].writes, 1)
    assert.deepEqual(messageLengths(ends[0].written), [10_016])
  })

  it('takes a message without text for what it is: nothing', async () => {
    const ends = wire()
    const ear = new Ear(dataPhase(ends).listener)
    ends[0].send(forged(TEXT('a'), TEXT(''), TEXT(''), TEXT('b')))
    await eventually('both are heard', () => ear.heard.toString() === 'ab')
    assert.equal(ear.closed, undefined)
  })

  it('breaks off at a changed byte, and says nothing of that message', async () => {
    const ends = wire({
      tamper(bytes, at) {
        const place = 60 - at
        if (place >= 0 && place < bytes.length) bytes[place] = (bytes[place] as number) ^ 1
      }
    })
    const { dialler, listener } = dataPhase(ends)
    const ears = [new Ear(dialler), new Ear(listener)] as const
    ends[0].send(forged(Buffer.alloc(30, 'a'), Buffer.alloc(30, 'b'), Buffer.alloc(30, 'c')))
    await eventually('both know', () => ears.every(({ closed }) => closed !== undefined))
    assert.ok('a'.repeat(30).startsWith(ears[1].heard.toString()))
    assert.equal(ears[1].closed?.local, true)
    assert.ok(ears[0].closed?.error !== undefined && ears[1].closed?.error !== undefined)
    assert.equal(listener.status, 'aborted')
  })

  it('breaks off at a length that no message has', async () => {
    const ends = wire()
    const ear = new Ear(dataPhase(ends).listener)
    ends[0].send(Buffer.concat([forged(TEXT('a')), Buffer.from([0, 3, 1, 2, 3])]))
    await eventually('it is closed', () => ear.closed !== undefined)
    assert.ok(ear.closed?.error !== undefined)
  })

  it('does not take a connection that ends inside a message for one that ended in order', async () => {
    for (const [length, isError] of [
      [19, false],
      [20, true],
      [30, true],
      [38, false]
    ] as const) {
      const ends = wire()
      const ear = new Ear(dataPhase(ends).listener)
      ends[0].send(forged(TEXT('a'), TEXT('b')).subarray(0, length))
      await ends[0].close()
      await eventually('it is closed', () => ear.closed !== undefined)
      assert.equal(ear.closed?.error !== undefined, isError, `${length} bytes`)
    }
  })

  it('breaks off when the numbers of its messages are used up, and throws nothing at who sends', async () => {
    const ends = wire()
    const { dialler, listener } = dataPhase(ends, Number.MAX_SAFE_INTEGER - 1)
    const ears = [new Ear(dialler), new Ear(listener)] as const
    dialler.send(TEXT('last'))
    await eventually('it is heard', () => ears[1].heard.toString() === 'last')
    dialler.send(TEXT('one too many'))
    await eventually('both know', () => ears.every(({ closed }) => closed !== undefined))
    assert.equal(ears[1].heard.toString(), 'last')
  })

  it('sends what was accepted before it is closed, whoever closes', async () => {
    for (const who of ['stream', 'wire'] as const) {
      const ends = wire()
      const { dialler, listener } = dataPhase(ends)
      const ear = new Ear(listener)
      dialler.send(Buffer.alloc(500_000, 'x'))
      dialler.send(TEXT('goodbye'))
      await (who === 'stream' ? dialler : ends[0]).close()
      await eventually('it is closed', () => ear.closed !== undefined)
      assert.equal(ear.closed?.error, undefined)
      assert.equal(ear.bytes, 500_007)
      assert.throws(() => dialler.send(TEXT('too late')))
    }
  })

  it('drops what waits when it is aborted, and resets the other side', async () => {
    const ends = wire()
    const { dialler, listener } = dataPhase(ends)
    const ears = [new Ear(dialler), new Ear(listener)] as const
    dialler.send(TEXT('never'))
    dialler.abort(new Error('enough'))
    await eventually('both know', () => ears.every(({ closed }) => closed !== undefined))
    assert.deepEqual([dialler.status, listener.status, ears[1].bytes], ['aborted', 'reset', 0])
    assert.throws(() => dialler.send(TEXT('too late')))
  })

  it('ends when the other side vanishes, also while it waits for room', async () => {
    for (const vanish of ['close', 'reset'] as const) {
      const ends = wire()
      const { dialler, listener } = dataPhase(ends)
      const ear = new Ear(dialler)
      listener.pause()
      fill(dialler)
      if (vanish === 'close') ends[1].end()
      else ends[1].abort(new Error('gone'))
      await eventually('it is closed', () => ear.closed !== undefined)
      assert.equal(ear.closed?.error !== undefined, vanish === 'reset')
      assert.throws(() => dialler.send(TEXT('too late')))
    }
  })

  it('makes the sender wait for a reader that stopped, holds little meanwhile, and goes on after', async () => {
    const ends = wire()
    const { dialler, listener } = dataPhase(ends)
    const ear = new Ear(listener)
    for (let round = 0; round < 3; round++) {
      listener.pause()
      const before = ear.bytes
      const accepted = fill(dialler)
      assert.ok(accepted < 1_000_000, `${accepted} bytes accepted`)
      assert.ok(dialler.writeBufferLength < 300_000)
      await new Promise(resolve => setTimeout(resolve, 5))
      assert.equal(dialler.writableNeedsDrain, true)
      const drained = new Promise(resolve => dialler.addEventListener('drain', resolve, { once: true }))
      listener.resume()
      await drained
      await eventually('all is there', () => ear.bytes === before + accepted)
    }
  })

  it('breaks off when somebody goes on sending to a reader that stopped', async () => {
    const ends = wire()
    const { dialler, listener } = dataPhase(ends)
    const ear = new Ear(dialler)
    listener.pause()
    let sent = 0
    assert.throws(() => {
      for (; sent < 2 * MAX_UNSENT_CONNECTION_BYTES; sent += 60_000) dialler.send(Buffer.alloc(60_000))
    })
    assert.ok(sent > MAX_UNSENT_CONNECTION_BYTES, 'not before the limit')
    assert.ok(ear.closed?.error !== undefined)
    assert.equal(dialler.writeBufferLength, 0)
  })
})

/** Sends until there is no room; returns how many bytes that took. */
function fill(stream: NoiseStream): number {
  let sent = 50_000
  while (stream.send(Buffer.alloc(50_000))) sent += 50_000
  return sent
}
