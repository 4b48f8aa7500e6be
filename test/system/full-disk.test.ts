import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPeer, isMusterError } from '../../src/index.ts'
import { Program, startBootstrap, TemporaryFolder } from '../support/process.ts'

const TEST = { timeout: 120_000, skip: process.platform === 'linux' ? false : 'needs Linux: /dev/full, ulimit -f' }

/** Blocks of 512 bytes a file may have: the log of a database is full after some records of 8 KiB. */
const BLOCKS = 128

test(
  'a bootstrap whose disk is full ends with a word and code 1, and has what it acknowledged when it starts again',
  TEST,
  async () => {
    await using folder = await TemporaryFolder.create()
    const args = ['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', folder.path]
    const limited = `ulimit -S -f ${BLOCKS}; exec "$0" src/bootstrap/main.ts "$@"`
    const acknowledged: string[] = []
    {
      await using full = new Program('sh', ['-c', limited, process.execPath, ...args], {})
      const { addresses } = await full.event('listening')
      await using peer = await createPeer({
        bootstrap: [String((addresses as string[])[0])],
        memory: true,
        listen: '127.0.0.1:0'
      })
      for (let at = 0; full.exit === undefined && at < 1_000; at++) {
        const name = `name ${at}`
        try {
          await peer.records.put(name, 'x'.repeat(8_000), { timeoutMs: 5_000 })
          acknowledged.push(name)
        } catch (thrown) {
          if (!isMusterError(thrown)) throw thrown
        }
      }
      assert.deepEqual(await full.exited, { code: 1, signal: null })
      assert.match(
        full.stderr,
        /the data folder .* cannot be created or written .*free some space.*\(data-not-writable\)/
      )
      assert.equal(full.events.at(-1)?.code, 'data-not-writable')
    }
    assert.ok(acknowledged.length > 2 && acknowledged.length < 20, `${acknowledged.length} were acknowledged`)
    await using again = startBootstrap(args)
    const { addresses } = await again.event('listening')
    await using reader = await createPeer({
      bootstrap: [String((addresses as string[])[0])],
      memory: true,
      listen: '127.0.0.1:0'
    })
    for (const name of acknowledged) assert.equal(String((await reader.records.get(name))?.value).length, 8_000, name)
    await again.stop()
  }
)

test('a bootstrap whose log cannot be written goes on', TEST, async () => {
  await using folder = await TemporaryFolder.create()
  const args = ['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', folder.path]
  const program = ['-c', 'exec "$0" src/bootstrap/main.ts "$@" 2> /dev/full', process.execPath, ...args]
  await using mute = new Program('sh', program, {})
  await mute.event('ready')
  assert.deepEqual(await mute.stop(), { code: 0, signal: null })
})

test('output that is lost is an error, not a clean end', TEST, async () => {
  await using program = new Program('sh', ['-c', 'exec "$0" src/peer/main.ts --help > /dev/full', process.execPath], {})
  assert.deepEqual(await program.exited, { code: 1, signal: null })
  assert.match(program.stderr, /standard output cannot be written: ENOSPC \(closed\)/)
})
