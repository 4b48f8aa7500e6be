import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Command, runOnce } from '../../src/peer/cli/once.ts'
import type { DeskOptions } from '../../src/peer/cli/record-desk.ts'
import { recordCommands } from '../../src/peer/cli/record-run.ts'
import { PEER_COMMANDS } from '../../src/peer/options.ts'
import { type ErrorCode, MusterError } from '../../src/shared/core/errors.ts'
import { eventually } from '../support/eventually.ts'
import { FakeHost, FakePeer, SELF } from './cli-fakes.ts'

interface Setup {
  readonly peer?: FakePeer
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string | Uint8Array
  readonly isTerminal?: boolean
}

/** What a command line leads to, over a fake peer. */
async function once(argv: readonly string[], setup: Setup = {}) {
  const started = start(argv, setup)
  const code = await started.host.exited
  await started.done
  return { ...started, code, stdout: started.host.stdout.text, stderr: started.host.stderr.text }
}

function start(argv: readonly string[], { peer = readyPeer(), env = {}, input, isTerminal }: Setup = {}) {
  const host = new FakeHost(argv, env)
  if (isTerminal) Object.assign(host.stdout, { isTTY: true })
  if (input !== undefined) host.stdin.end(input)
  const created: DeskOptions[] = []
  const commands: Record<string, Command> = recordCommands(
    { version: () => '1.2.3', program: 'npm run peer --' },
    {
      folders: async () => [],
      async createPeer(options) {
        created.push(options)
        return peer
      }
    }
  )
  const done = runOnce(host, commands)
  return { host, peer, created, done }
}

function readyPeer(): FakePeer {
  const peer = new FakePeer()
  peer.isReady = true
  return peer
}

describe('put', () => {
  it('takes JSON where it is JSON, else text, or what the flags say', async () => {
    for (const [argv, value] of [
      [['{"a":[1]}'], { a: [1] }],
      [['5'], 5],
      [['-5'], -5],
      [['hello there'], 'hello there'],
      [['{"a":'], '{"a":'],
      [['5', '--string'], '5'],
      [['--bytes', '5'], Uint8Array.of(0x35)],
      [[''], ''],
      [['--', '--bytes'], '--bytes']
    ] as const) {
      const { peer, code, stdout } = await once(['put', 'k', ...argv])
      assert.equal(code, 0)
      assert.deepEqual(peer.records.asked[0]?.slice(0, 3), ['put', 'k', value])
      assert.equal(stdout, 'stored by 5 nodes, until 2026-11-27 00:00 UTC\n')
      assert.ok(peer.signal.aborted, 'the peer is closed')
    }
  })

  it('reads the value from standard input', async () => {
    for (const [argv, input, value] of [
      [[], '{"a":1}\n', { a: 1 }],
      [['-'], 'text\r\n', 'text'],
      [['--string'], '5', '5'],
      [['--string'], '', ''],
      [['--bytes'], 'a\n', Uint8Array.from(Buffer.from('a\n'))],
      [['--bytes'], Uint8Array.of(0xff, 0), Uint8Array.of(0xff, 0)]
    ] as const) {
      const { peer, code, stderr } = await once(['put', 'k', ...argv], { input })
      assert.equal(code, 0, stderr)
      assert.deepEqual(peer.records.asked[0]?.[2], value)
    }
  })

  it('refuses what is no value, or too long, before anybody is asked', async () => {
    for (const [argv, input, code, says] of [
      [['put', 'k'], '', 2, /standard input is empty/],
      [['put', 'k'], Uint8Array.of(0xff), 1, /--bytes takes it as it is/],
      [['put', 'k', '--bytes'], 'x'.repeat(8_193), 1, /8193 bytes long/],
      [['put', 'k', 'x'.repeat(9_000)], undefined, 1, /9002 bytes long/]
    ] as const) {
      const result = await once(argv, input === undefined ? {} : { input })
      assert.equal(result.code, code)
      assert.match(result.stderr, says)
      assert.deepEqual(result.created, [])
    }
  })

  it('reads no more of standard input than it takes to know that it is too long', async () => {
    const { host, done } = start(['put', 'k', '--bytes'])
    for (let n = 0; n < 9; n++) host.stdin.write(Buffer.alloc(1_024))
    assert.equal(await host.exited, 1) // though it never ends
    await done
    assert.match(host.stderr.text, /too-large/)
  })

  it('hands its options on', async () => {
    const flags = ['--expires', '7d', '--renew', '--timeout', '20s', '--network', 'lab', '--data', '/x', '--own']
    const { peer, created } = await once(['put', ...flags, '--bootstrap', 'a.example:1', 'k', '1'])
    const { signal, ...options } = peer.records.asked[0]![3] as { signal: unknown }
    assert.ok(signal instanceof AbortSignal)
    assert.deepEqual(options, { validityMs: 604_800_000, renew: true, timeoutMs: 20_000 })
    assert.deepEqual(peer.records.asked[0]?.[1], { name: 'k' })
    const { network, data, bootstrap, isNetworkGiven } = created[0]!
    assert.deepEqual(
      { network, data, bootstrap, isNetworkGiven },
      {
        ...{ network: 'lab', data: '/x', bootstrap: ['a.example:1'], isNetworkGiven: true }
      }
    )
  })

  it('with --content prints the key, and all else on standard error', async () => {
    const { peer, stdout, stderr } = await once(['put', '--content', 'x'])
    assert.equal(peer.records.asked[0]?.[1], null)
    assert.equal(stdout, 'bafkreifake\n')
    assert.match(stderr, /^stored by 5 nodes/)
  })

  it('warns when fewer than three nodes stored it', async () => {
    const peer = readyPeer()
    peer.records.stored = 1
    const { code, stdout, stderr } = await once(['put', 'k', '1', '--json'], { peer })
    assert.equal(code, 0)
    assert.match(stderr, /^warning: only 1 node stored it/)
    const { at, ...line } = JSON.parse(stdout) as { at: string }
    assert.ok(at)
    assert.deepEqual(line, {
      ...{ event: 'stored', key: 'k', sequence: 1, expiresAt: '2026-11-27T00:00:00.000Z', stored: 1, isQuorum: false }
    })
  })
})

describe('get', () => {
  async function stored(value: Parameters<FakePeer['records']['put']>[1]): Promise<FakePeer> {
    const peer = readyPeer()
    await peer.records.put('k', value)
    return peer
  }

  it('prints the value alone', async () => {
    for (const [value, printed] of [
      ['two\nlines', 'two\nlines\n'],
      [{ a: [1, null] }, '{"a":[1,null]}\n'],
      [null, 'null\n'],
      [Uint8Array.from(Buffer.from('raw\n')), 'raw\n']
    ] as const) {
      const { code, stdout, stderr } = await once(['get', 'k'], { peer: await stored(value) })
      assert.deepEqual([code, stdout, stderr], [0, printed, ''])
    }
  })

  it('prints nothing on a terminal that it would obey', async () => {
    for (const [value, printed] of [
      ['a\nb\u001b[2J', 'a\nb\\u{1b}[2J\n'],
      [['\u009b'], '["\\u009b"]\n'],
      [Uint8Array.of(27), '{"bytes":"Gw=="}\n']
    ] as const) {
      const { stdout } = await once(['get', 'k'], { peer: await stored(value), isTerminal: true })
      assert.equal(stdout, printed)
    }
  })

  it('says more with --verbose, on standard error', async () => {
    const { stdout, stderr } = await once(['get', 'k', '--verbose'], { peer: await stored('v') })
    assert.equal(stdout, 'v\n')
    assert.match(stderr, /by …F1Sexf, sequence 1, until 2026-11-27 00:00 UTC, held by 3 of 4 nodes that answered/)
  })

  it('ends in 3 when there is no record', async () => {
    const { code, stdout, stderr } = await once(['get', 'k'])
    assert.deepEqual([code, stdout, stderr], [3, '', 'there is no record under k\n'])
    const json = await once(['get', 'k', '--own', '--json'])
    assert.equal(json.code, 3)
    assert.deepEqual([JSON.parse(json.stdout).event, JSON.parse(json.stdout).key], ['no-record', { name: 'k' }])
  })

  it('asks for the key that the flags say', async () => {
    const cid = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'
    for (const [argv, key] of [
      [['k'], 'k'],
      [['k', '--own'], { name: 'k' }],
      [['--owner', 'x', 'k'], undefined],
      [['--owner', '12D3KooWGjMCwSbB9rmQyTQ3aoTZ9GX8KL8TmTWRkGLGWpMDVUqj', 'k'], { name: 'k' }],
      [['--content', cid], { content: cid }]
    ] as const) {
      const { peer, code } = await once(['get', ...argv])
      if (key === undefined) assert.equal(code, 2)
      else assert.partialDeepStrictEqual(peer.records.asked[0]?.[1], key)
    }
    const { peer } = await once(['get', 'k', '--quorum', '7'])
    assert.partialDeepStrictEqual(peer.records.asked[0]?.[2], { quorum: 7 })
  })
})

describe('exit codes', () => {
  const CODES: ReadonlyArray<readonly [ErrorCode, number]> = [
    ['unreachable', 4],
    ['timed-out', 5],
    ['record-invalid', 6],
    ['key-invalid', 2],
    ['refused', 1],
    ['closed', 1],
    ['data-locked', 1]
  ]
  for (const [error, code] of CODES) {
    it(`${code} for ${error}, which JSON lines say, too`, async () => {
      const peer = readyPeer()
      peer.records.failure = new MusterError(error, 'so it is')
      for (const argv of [['put', 'k', '1'], ['get', 'k'], ['delete', 'k'], ['list']]) {
        const result = await once([...argv, '--json'], { peer })
        assert.equal(result.code, code, argv.join(' '))
        assert.equal(result.stderr, `error: so it is (${error})\n`)
        const { at: _, ...line } = JSON.parse(result.stdout) as { at: string }
        assert.deepEqual(line, { event: 'error', code: error, message: 'so it is' })
      }
    })
  }

  it('4, and what was tried, when nobody answers', async () => {
    const peer = new FakePeer()
    const { host, done } = start(['get', 'k', '--bootstrap', 'a.example:1', '--bootstrap', 'b.example:2'], { peer })
    await eventually('it waits for the peer', () => peer.listenerCount('problem') === 1)
    peer.emit('problem', new MusterError('unreachable', 'a.example:1 cannot be reached') as never)
    assert.equal(await host.exited, 4)
    await done
    assert.equal(
      host.stderr.text,
      'error: no node answered within 5 s; tried a.example:1, b.example:2; a.example:1 cannot be reached (unreachable)\n'
    )
    assert.ok(peer.signal.aborted)
  })

  it('1 when it is stopped, and 0 for a watch', async () => {
    for (const [argv, code] of [
      [['put', 'k'], 1],
      [['watch', 'k'], 0]
    ] as const) {
      const { host, done, peer } = start(argv)
      if (argv[0] === 'watch') await eventually('it watches', () => peer.records.asked.length === 1)
      host.signal()
      assert.equal(await host.exited, code)
      await done
    }
  })
})

describe('delete, watch and list', () => {
  it('delete says how many nodes know', async () => {
    const { stdout, peer } = await once(['delete', '--own', 'k'])
    assert.equal(stdout, 'deleted at 5 nodes, until 2026-11-27 00:00 UTC\n')
    assert.deepEqual(peer.records.asked[0]?.slice(0, 2), ['delete', { name: 'k' }])
  })

  it('watch prints each version in a line of its own', async () => {
    const { host, done, peer } = start(['watch', 'k'])
    await eventually('it watches', () => peer.records.asked.length === 1)
    await peer.records.put('k', 'one')
    await peer.records.put('k', Uint8Array.of(1))
    await peer.records.delete('k')
    await eventually('the deletion is said', () => host.stderr.text === 'k was deleted\n')
    host.signal()
    await done
    assert.equal(host.stdout.text, 'one\n{"bytes":"AQ=="}\n')
  })

  it('list needs no network', async () => {
    const peer = new FakePeer() // which never becomes ready
    await peer.records.put('k', 'v')
    const { code, stdout } = await once(['list'], { peer })
    assert.equal(code, 0)
    assert.equal(stdout, '[k] is v (at 5 nodes, until 2026-11-27 00:00 UTC)\n')
    const lines = (await once(['list', '--json'], { peer })).stdout.trim().split('\n')
    assert.deepEqual(
      lines.map(line => (JSON.parse(line) as { event: string }).event),
      ['own-record']
    )
  })

  it('list waits for a slow reader, who gets all of it', async () => {
    const peer = readyPeer()
    const long = 'x'.repeat(65_536)
    for (let at = 0; at < 300; at++) await peer.records.put(`key ${at}`, long)
    const { host, done } = start(['list', '--json'], { peer })
    host.stdout.stall()
    await eventually('it waits', () => host.stdout.writableNeedDrain)
    assert.ok(host.stdout.writableLength < 3 * long.length, `${host.stdout.writableLength}`)
    assert.deepEqual(host.exits, [])
    host.stdout.go()
    await done
    assert.equal(await host.exited, 0)
    assert.equal(host.stdout.text.trim().split('\n').length, 300)
  })
})

describe('the command line of a command', () => {
  it('reports all problems at once, with value and hint', async () => {
    const { code, stderr } = await once([
      ...['put', '', 'v', 'more', '--expires', '1m', '--timeout', 'soon', '--network', 'A', '--bootstrap', 'x']
    ])
    assert.equal(code, 2)
    assert.deepEqual(stderr.trim().split('\n'), [
      'error: 6 problems (options-invalid)',
      '  "more": expected KEY and VALUE alone; put quotes around what has spaces',
      '  KEY: received "": a key has at least one character',
      '  --expires: received "1m", expected a time of 5m to 30d (90m, 48h, 7d)',
      '  --timeout: received "soon", expected a time of 1s to 60s',
      '  --bootstrap: received "x", expected host:port (127.0.0.1:8468) or a multiaddr (/ip4/127.0.0.1/tcp/8468/p2p/12D3Koo…)',
      '  --network: received "A", expected 1 to 32 letters a to z, digits and hyphens'
    ])
  })

  it('knows what contradicts what, and what is missing', async () => {
    for (const [argv, says] of [
      [['put', 'v', '--own', '--content'], /--own and --content contradict/],
      [['put', 'k', 'v', '--string', '--bytes'], /--string and --bytes contradict/],
      [['put', 'k', 'v', '--memory', '--renew'], /--memory and --renew contradict/],
      [['put', 'k', 'v', '--memory', '--data', 'x'], /--memory and --data contradict/],
      [['put', '--content', 'a', 'b'], /"b": expected VALUE alone/],
      [['get'], /KEY: it is missing/],
      [['get', 'a', 'b'], /"b": expected KEY alone/],
      [['get', '--content', 'a'], /"a" is no content key/],
      [['get', 'k', '--quorum', '21'], /--quorum: received "21", expected a number of 1 to 20/],
      [['get', 'k', '--own', '--owner', SELF], /--owner: received/],
      [['list', 'k'], /"k": expected nothing but flags/],
      [['watch', 'k', '--quorum', '3'], /--quorum: there is no such flag/],
      [['put', 'k', '--expire', '3d', '1'], /--expire: there is no such flag; did you mean --expires\?/]
    ] as const) {
      const { code, stderr, created } = await once(argv)
      assert.equal(code, 2, argv.join(' '))
      assert.match(stderr, says)
      assert.equal(stderr.split('\n').length, 2, stderr)
      assert.deepEqual(created, [])
    }
    const json = await once(['get', '--json'])
    assert.equal((JSON.parse(json.stdout) as { code: string }).code, 'options-invalid')
  })

  it('lets the flag --memory win over MUSTER_DATA', async () => {
    const { code, created } = await once(['get', 'k', '--memory'], { env: { MUSTER_DATA: '/data' } })
    assert.equal(code, 3)
    assert.equal(created[0]?.memory, true)
  })

  it('has a help of its own, with the exit codes', async () => {
    for (const name of ['put', 'get', 'delete', 'watch', 'list']) {
      assert.ok((PEER_COMMANDS as readonly string[]).includes(name))
      const { code, stdout } = await once([name, '--help'])
      assert.equal(code, 0)
      assert.match(stdout, new RegExp(`^[A-Z].*\\. npm run peer -- ${name}\\b.* \\[options\\]\n`))
      assert.match(
        stdout,
        /\nExit codes:\n {2}0 {2}done\n {2}1 {2}an error\n {2}2 {2}a wrong command line\n {2}3 {2}no record\n/
      )
      assert.match(stdout, / {2}--bootstrap ADDRESS… /)
    }
    assert.equal((await once(['get', '--version'])).stdout, '1.2.3\n')
  })
})
