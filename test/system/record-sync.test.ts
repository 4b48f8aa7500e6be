import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { systemClock } from '../../src/shared/core/clock.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { Lines } from '../../src/shared/records/lines.ts'
import { signRecord } from '../../src/shared/records/record.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'
import { eventually } from '../support/eventually.ts'
import { Program, TemporaryFolder } from '../support/process.ts'
import { openNode } from './kill-driver.ts'

const WRITES = 20

const hasStrace = spawnSync('strace', ['-V']).status === 0
const isReady = hasStrace || process.env.CI === 'true'

/** When each write of ours was under way, and each `fdatasync` of the bootstrap, in seconds since 1970. */
async function traced(durability: 'sync' | 'fast') {
  await using scope = new Scope()
  const folder = await TemporaryFolder.create()
  scope.defer(() => folder[Symbol.asyncDispose]())
  const trace = folder.at('trace')
  const program = new Program(
    'strace',
    [
      ...['-f', '-ttt', '-T', '-e', 'trace=fdatasync,fsync', '-o', trace, process.execPath, 'src/bootstrap/main.ts'],
      ...['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', folder.at('data'), '--durability', durability]
    ],
    { isGroup: true }
  )
  scope.defer(() => program[Symbol.asyncDispose]())
  const { peerId, addresses } = await program.event('listening')
  const target = {
    peerId: String(peerId),
    addresses: (addresses as string[]).map(each => each.replace(/\/p2p\/.*/, ''))
  }
  const node = scope.own(await openNode())
  const lines = scope.own(new Lines({ node, clock: systemClock, onChanged: () => undefined }))
  await eventually('records are served', async () => {
    await lines.ask(target, 'find', { place: new Uint8Array(32) }, scope.signal)
    return true
  })
  const writes: Array<{ readonly from: number; readonly to: number }> = []
  for (let sequence = 1; sequence <= WRITES; sequence++) {
    const issuedMs = Date.now()
    const { envelope } = await signRecord(node, {
      key: { kind: 'owned', owner: node.peerId, name: 'status' },
      sequence,
      issuedMs,
      expiresMs: issuedMs + 3_600_000,
      value: { kind: VALUE_KIND.bytes, body: new Uint8Array(100) }
    })
    const from = Date.now() / 1000
    const { refusal } = await lines.ask(target, 'store', { envelope }, scope.signal)
    assert.equal(refusal, undefined)
    writes.push({ from, to: Date.now() / 1000 })
  }
  await program.stop()
  const syncs = (await readFile(trace, 'utf8')).split('\n').flatMap(line => {
    const [, at, tookS] = /^\d+ +(\d+\.\d+) f(?:data)?sync\(.*<(\d+\.\d+)>/.exec(line) ?? []
    return at === undefined ? [] : [{ from: Number(at), to: Number(at) + Number(tookS) }]
  })
  // whole milliseconds on our side
  return writes.filter(write => syncs.some(sync => sync.from >= write.from - 0.001 && sync.to <= write.to + 0.001))
    .length
}

test('with --durability sync each record is on the disk before it is acknowledged, with fast none is', {
  timeout: 180_000
}, async t => {
  if (!isReady) {
    t.skip('no strace on this machine')
    return
  }
  assert.equal(await traced('sync'), WRITES)
  assert.ok((await traced('fast')) < WRITES / 4, 'fast waits for the disk')
})
