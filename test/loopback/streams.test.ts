import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, it } from 'node:test'
import type { ByteStream } from '../../src/index.ts'
import { isMusterError, nodeStream, type Testnet, testnet } from '../../src/index.ts'
import { eventually } from '../support/eventually.ts'
import { bytesOf } from '../support/stream-world.ts'
import { allMeet, type Seat, sit, temporaryFolder } from '../support/topics.ts'

const MIB = 1_048_576
/**
 * What may be under way at once, in bytes: unread here, waiting in the channel, in yamux's window, unsent over there and
 * in the sockets of the system. Far below what is sent.
 */
const MAX_UNDER_WAY = 16 * MIB

async function pair(net: Testnet): Promise<readonly [Seat, Seat]> {
  const [ana, bob] = [await sit(await net.createPeer()), await sit(await net.createPeer())]
  await allMeet([ana, bob])
  return [ana, bob]
}

describe('Node streams over real sockets', () => {
  it('pipe a file to a member and back', async () => {
    await using net = await testnet()
    await using folder = await temporaryFolder()
    const [ana, bob] = await pair(net)
    const [original, copy, back] = ['original', 'copy', 'back'].map(name => join(folder.path, name)) as [
      string,
      string,
      string
    ]
    await writeFile(original, Buffer.alloc(20 * MIB, 'a file of many megabytes. '))
    bob.group.onStream('copy', async stream => {
      const far = nodeStream(stream)
      await pipeline(far, createWriteStream(copy))
      await pipeline(createReadStream(copy), far)
    })
    const here = await ana.group.openStream(bob.peerId, 'copy')
    const duplex = nodeStream(here)
    await Promise.all([pipeline(createReadStream(original), duplex), pipeline(duplex, createWriteStream(back))])
    const [sent, got] = await Promise.all([readFile(original), readFile(back)])
    assert.ok(sent.equals(got))
    await eventually('it is over', () => here.signal.aborted && duplex.closed)
  })

  it('fail in the pipeline at both ends when the member goes', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    const failed = Promise.withResolvers<unknown>()
    bob.group.onStream('endless', async stream => {
      const zeros = Readable.from(
        (async function* () {
          for (;;) yield Buffer.alloc(10_000)
        })()
      )
      await pipeline(zeros, nodeStream(stream)).catch(failed.resolve)
    })
    const duplex = nodeStream(await ana.group.openStream(bob.peerId, 'endless'))
    const reading = pipeline(duplex, new PassThrough().resume())
    const broken = assert.rejects(reading, { name: 'MusterError', code: 'closed' })
    await once(duplex, 'data')
    await ana.group.leave()
    assert.ok(isMusterError(await failed.promise))
    await broken
  })
})

describe('a raw stream over real sockets', () => {
  it('brings bytes both ways and ends each half by itself', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    bob.group.onStream('echo', async stream => {
      for await (const piece of stream) await stream.write(piece)
      await stream.end()
    })
    await using here = await ana.group.openStream(bob.peerId, 'echo')
    const sent = Buffer.alloc(3 * MIB, 'abcdefg')
    const writing = here.write(sent).then(() => here.end())
    assert.ok((await bytesOf(here)).equals(sent))
    await writing
    await eventually('it is over', () => here.signal.aborted)
  })

  it('holds a bounded part of 256 MiB, whatever pace its reader takes', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    const taken = Promise.withResolvers<ByteStream>()
    bob.group.onStream('bulk', stream => taken.resolve(stream))
    const here = await ana.group.openStream(bob.peerId, 'bulk')
    const there = await taken.promise
    const piece = Buffer.alloc(MIB, 7)
    const total = 256 * MIB
    let written = 0
    const writing = (async () => {
      for (; written < total; written += piece.length) await here.write(piece)
      await here.end()
    })()
    let last = -1
    await eventually('the writer stands still while nobody reads', async () => {
      await new Promise(resolve => setTimeout(resolve, 100))
      const isStill = written === last
      last = written
      return isStill
    })
    assert.ok(written < MAX_UNDER_WAY, `${written} bytes under way`)
    let read = 0
    let most = 0
    for await (const part of there) {
      read += part.length
      most = Math.max(most, written - read)
      if (read % 7 === 0) await new Promise(resolve => setImmediate(resolve)) // not as fast as it could
    }
    await writing
    assert.equal(read, total)
    assert.ok(most < MAX_UNDER_WAY, `${most} bytes under way`)
  })

  it('is refused by code: no handler, not a member', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    await assert.rejects(ana.group.openStream(bob.peerId, 'nothing'), { code: 'no-handler' })
    await assert.rejects(ana.group.openStream('12D3KooWNobody', 'nothing'), { code: 'not-a-member' })
    await assert.rejects(ana.group.openStream(net.bootstraps[0]!.peerId, 'nothing'), { code: 'not-a-member' })
  })

  it('breaks when the other side leaves or goes, and says so at both ends', async () => {
    await using net = await testnet()
    const [ana, bob] = await pair(net)
    const taken: ByteStream[] = []
    bob.group.onStream('pipe', stream => void taken.push(stream))
    const here = await ana.group.openStream(bob.peerId, 'pipe')
    const reading = assert.rejects(bytesOf(here), { name: 'MusterError', code: /closed|gone/ })
    await bob.group.leave()
    await reading
    await assert.rejects(here.write(Uint8Array.of(1)), { code: /closed|gone/ })
    await assert.rejects(bytesOf(taken[0]!), { code: 'closed' })
    await assert.rejects(ana.group.openStream(bob.peerId, 'pipe'), { code: 'not-a-member' })
    assert.throws(() => bob.group.onStream('pipe', () => undefined), { code: 'closed' })
  })
})
