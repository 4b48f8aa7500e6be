import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Duplex, Readable, Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, it } from 'node:test'
import { nodeStream } from '../../src/peer/streams/node-stream.server.ts'
import { eventually } from '../support/eventually.ts'
import { bytesOf, StreamWorld } from '../support/stream-world.ts'

const sample = Buffer.alloc(1_000_000, 'muster')

describe('a byte stream as a Node stream', () => {
  it('pipelines both ways, and ends each half by itself', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair()
    const [near, far] = [nodeStream(here), nodeStream(there)]
    const heard = bytesFrom(far)
    await pipeline(Readable.from([sample, 'as text'], { objectMode: false }), near)
    assert.ok((await heard).equals(Buffer.concat([sample, Buffer.from('as text')])))
    assert.ok(far.writable, 'the other half is open')
    const back = bytesFrom(near)
    await pipeline(Readable.from([sample]), far)
    assert.ok((await back).equals(sample))
    await eventually('both are over', () => near.destroyed && far.destroyed)
    assert.deepEqual([near.errored, far.errored], [null, null])
    await eventually('in order', () => ana.outcomes.length + bob.outcomes.length === 2)
    assert.deepEqual([ana.outcomes, bob.outcomes], [['out ended'], ['in ended']])
  })

  it('goes through a pipeline of three: read, change, write back', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    const far = nodeStream(there)
    const louder = new Transform({
      transform(piece: Buffer, _encoding, done) {
        done(null, piece.toString('latin1').toUpperCase())
      }
    })
    const echo = pipeline(far, louder, far)
    const near = nodeStream(here)
    near.end('quiet words')
    assert.equal((await bytesFrom(near)).toString(), 'QUIET WORDS')
    await echo
  })

  it('is held up by a slow reader, and goes on with it', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    const near = nodeStream(here)
    let taken = 0
    let most = 0
    let written = 0
    const source = Readable.from(
      (function* () {
        for (let at = 0; at < 100; at++) {
          written += 50_000
          most = Math.max(most, written - taken)
          yield Buffer.alloc(50_000, at)
        }
      })(),
      { objectMode: false }
    )
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _encoding, done) {
        taken += chunk.length
        setImmediate(done)
      }
    })
    await Promise.all([pipeline(source, near), pipeline(nodeStream(there), slow)])
    assert.equal(taken, 5_000_000)
    assert.ok(most < 1_500_000, `${most} bytes under way`)
  })

  it('destroyed before its end aborts: the other side hears `closed`', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    const near = nodeStream(here)
    near.write('half of')
    near.destroy()
    await once(near, 'close')
    await assert.rejects(bytesOf(there), { code: 'closed' })
  })

  it('hears from a source that fails, and passes nothing on as an end', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    const failing = Readable.from(
      (function* () {
        yield Buffer.from('a')
        throw new Error('the disk is on fire')
      })()
    )
    const reading = assert.rejects(bytesOf(there), { code: 'closed' })
    await assert.rejects(pipeline(failing, nodeStream(here)), { message: 'the disk is on fire' })
    await reading
  })

  it('is destroyed with what broke the stream', async () => {
    await using world = new StreamWorld()
    const { bob, here } = await world.pair()
    const near = nodeStream(here)
    near.resume()
    const failed = once(near, 'error')
    await world.network.kill(bob.node)
    const [error] = await failed
    assert.deepEqual([error.name, error.code], ['MusterError', 'closed'])
    await eventually('it is closed', () => near.closed)
  })

  it('fails a write after the end, as Node streams do', async () => {
    await using world = new StreamWorld()
    const { here } = await world.pair()
    const near = nodeStream(here)
    near.end()
    const [error] = await Promise.all([once(near, 'error'), near.write('late')])
    assert.equal(error[0].code, 'ERR_STREAM_WRITE_AFTER_END')
  })
})

/** All it brings. Not by iteration, with which Node destroys the other half too. */
async function bytesFrom(duplex: Duplex): Promise<Buffer> {
  const pieces: Buffer[] = []
  duplex.on('data', piece => pieces.push(piece))
  await once(duplex, 'end')
  return Buffer.concat(pieces)
}
