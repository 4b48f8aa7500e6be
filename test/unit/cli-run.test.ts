import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAX_UNREAD_BYTES } from '../../src/peer/cli/output.ts'
import { type Program, type ProgramOptions, run } from '../../src/peer/cli/run.ts'
import { startBootstrap, startPeer } from '../../src/peer/cli/start.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { eventually } from '../support/eventually.ts'
import { FakeHost, FakePeer, memberOf } from './cli-fakes.ts'

interface Options extends ProgramOptions {
  readonly topics: readonly string[]
}

function programOf(peer: FakePeer, change: Partial<Program<Options>> = {}): Program<Options> {
  return {
    version: () => '1.2.3',
    help: () => 'Usage: peer',
    parse: (argv, env) => ({
      json: argv.includes('--json') || env.MUSTER_JSON === '1',
      help: argv.includes('--help'),
      version: argv.includes('--version'),
      topics: argv.filter(word => !word.startsWith('--'))
    }),
    start: ({ topics }, io) => startPeer(peer, { topics }, io),
    ...change
  }
}

const failing = (error: Error): Partial<Program<Options>> => ({ start: () => Promise.reject(error) })

describe('a program', () => {
  it('prints help and version and starts nothing', async () => {
    const program = programOf(new FakePeer(), failing(new Error('started')))
    for (const [word, text] of [
      ['--help', 'Usage: peer\n'],
      ['--version', '1.2.3\n']
    ] as const) {
      const host = new FakeHost([word, '--nonsense'])
      await run(host, program)
      assert.equal(await host.exited, 0)
      assert.equal(host.stdout.text, text)
    }
  })

  it('refuses an old Node in one sentence', async () => {
    for (const version of ['20.19.2', '24.11.9']) {
      const host = new FakeHost([], {}, version)
      await run(host, programOf(new FakePeer()))
      assert.deepEqual(host.exits, [1])
      assert.equal(host.stderr.text, `Muster needs Node 24.12 or newer; this is ${version}\n`)
    }
  })

  it('reports a wrong command line on standard error, one problem a line, with exit code 2', async () => {
    for (const code of ['options-invalid', 'address-invalid', 'topic-invalid'] as const) {
      const host = new FakeHost(['--nonsense'])
      const parse = (): never => {
        throw new MusterError(code, '--nonsense is unknown\n--x is unknown')
      }
      await run(host, programOf(new FakePeer(), { parse }))
      assert.equal(await host.exited, 2)
      assert.equal(host.stderr.text, `error: 2 problems (${code})\n  --nonsense is unknown\n  --x is unknown\n`)
      assert.equal(host.stdout.text, '')
    }
  })

  it('reports other failures with exit code 1, and as a JSON line when asked', async () => {
    for (const [argv, env] of [
      [['--json'], {}],
      [[], { MUSTER_JSON: '1' }]
    ] as const) {
      const host = new FakeHost(argv, env)
      await run(host, programOf(new FakePeer(), failing(new MusterError('port-in-use', 'port 1 is taken'))))
      assert.equal(await host.exited, 1)
      assert.equal(host.stderr.text, 'error: port 1 is taken (port-in-use)\n')
      const { event, code, message } = JSON.parse(host.stdout.text)
      assert.deepEqual([event, code, message], ['error', 'port-in-use', 'port 1 is taken'])
    }
  })

  it('reports a wrong command line as a JSON line when that was asked for', async () => {
    for (const [argv, env] of [
      [['--json'], {}],
      [['--json=true'], {}],
      [['--x'], { MUSTER_JSON: 'on' }]
    ] as const) {
      const host = new FakeHost(argv, env)
      const parse = (): never => {
        throw new MusterError('options-invalid')
      }
      await run(host, programOf(new FakePeer(), { parse }))
      assert.equal(await host.exited, 2)
      assert.equal(JSON.parse(host.stdout.text).code, 'options-invalid')
    }
  })

  it('shows where a defect is', async () => {
    const host = new FakeHost()
    await run(host, programOf(new FakePeer(), failing(new TypeError('a defect'))))
    assert.equal(await host.exited, 1)
    assert.match(host.stderr.text, /TypeError: a defect\n\s+at /)
  })

  it('closes what it started on a signal, and ends with 0', async () => {
    const host = new FakeHost(['lobby'])
    const peer = new FakePeer()
    const running = run(host, programOf(peer))
    await eventually('the peer joined', () => host.stdout.text.includes('joined'))
    host.signal()
    await running
    assert.equal(await host.exited, 0)
    assert.ok(peer.signal.aborted)
    assert.equal(host.stderr.text, '')
  })

  it('takes a doubled signal for one, and a second one at once', async () => {
    const host = new FakeHost()
    const peer = new FakePeer()
    const closing = Promise.withResolvers<void>()
    peer.closing = closing.promise
    const running = run(host, programOf(peer))
    await eventually('the peer listens', () => host.stdout.text.includes('listening'))
    host.signal()
    host.signal()
    assert.deepEqual(host.exits, [])
    await eventually('another signal ends it', () => {
      host.signal()
      return host.exits.length > 0
    })
    assert.equal(host.exits[0], 1)
    closing.resolve()
    await running
  })

  it('that does not stop in time ends with 1 and says so', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const host = new FakeHost()
    const peer = new FakePeer()
    const closing = Promise.withResolvers<void>()
    peer.closing = closing.promise
    const running = run(host, programOf(peer))
    host.signal()
    t.mock.timers.tick(5000)
    assert.equal(await host.exited, 1)
    assert.match(host.stderr.text, /did not stop within 5 s \(timed-out\)/)
    closing.resolve()
    await running
  })

  it('stopped while starting closes what was being started', async () => {
    const host = new FakeHost()
    const peer = new FakePeer()
    const created = Promise.withResolvers<void>()
    const running = run(
      host,
      programOf(peer, {
        async start({ topics }, io) {
          await created.promise
          return startPeer(peer, { topics }, io)
        }
      })
    )
    host.signal()
    created.resolve()
    await running
    assert.equal(await host.exited, 0)
    assert.ok(peer.signal.aborted)
  })

  it('ends cleanly when nobody reads its output any more', async () => {
    const host = new FakeHost()
    const running = run(host, programOf(new FakePeer()))
    await eventually('the peer listens', () => host.stdout.text.includes('listening'))
    host.stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    await running
    assert.equal(await host.exited, 0)
    assert.equal(host.stderr.text, '')
  })
})

describe('a reader that stands still', () => {
  it('does not keep the program from ending', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const host = new FakeHost()
    const running = run(host, programOf(new FakePeer()))
    host.stdout.stall()
    host.signal()
    await running
    t.mock.timers.tick(4_999)
    assert.deepEqual(host.exits, [])
    t.mock.timers.tick(1)
    assert.equal(host.exits[0], 1)
  })

  it('costs bounded memory: messages to us wait with their receipts, other lines are counted', async () => {
    const host = new FakeHost(['lobby', '--json'])
    const peer = new FakePeer()
    const running = run(host, programOf(peer))
    await eventually('it joined', () => host.stdout.text.includes('joined'))
    const lobby = peer.groups[0]!
    host.stdout.stall()
    const long = 'x'.repeat(1_048_576)
    let held = 0
    const outcomes = Array.from({ length: 40 }, () => lobby.hear(memberOf('ana001'), long))
    for (const outcome of outcomes) if (outcome instanceof Promise) held++
    assert.ok(held > 20, `${held} wait`)
    for (let at = 0; at < 1_000; at++) lobby.emit('left', { peerId: `p${at}`, name: undefined, reason: 'lost' })
    assert.ok(host.stdout.writableLength < MAX_UNREAD_BYTES + 2 * long.length, `${host.stdout.writableLength}`)
    host.stdout.go()
    for (const outcome of outcomes) assert.equal(await outcome, true)
    const events = host.stdout.text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    assert.equal(events.filter(({ event }) => event === 'message').length, 40)
    const missed = events.filter(({ event }) => event === 'error').map(({ code, message }) => `${code} ${message}`)
    assert.deepEqual(missed, ['limit-reached 1000 lines were not printed: nobody read standard output'])
    host.signal()
    await running
    assert.equal(await host.exited, 0)
  })
})

describe('a program that cannot go on', () => {
  it('ends with 1 and says why when its output is lost, whatever else fails', async () => {
    for (const [argv, fails] of [
      [[], false],
      [['--json'], true]
    ] as const) {
      const host = new FakeHost(argv)
      const peer = new FakePeer()
      if (fails) peer.closing = Promise.reject(new Error('the last words'))
      const running = run(host, programOf(peer))
      await eventually('the peer listens', () => host.stdout.text.includes('listening'))
      host.stdout.destroy(Object.assign(new Error('no space'), { code: 'ENOSPC' }))
      await running
      assert.equal(await host.exited, 1)
      assert.equal(host.stderr.text, 'error: standard output cannot be written: ENOSPC (closed)\n')
    }
  })

  it('ends with 1 and says why when the peer closes by itself', async () => {
    const host = new FakeHost()
    const peer = new FakePeer()
    const running = run(host, programOf(peer))
    await eventually('the peer listens', () => host.stdout.text.includes('listening'))
    peer.closing = Promise.reject(new Error('the last words'))
    peer.fail(new MusterError('data-not-writable', 'no room'))
    await running
    assert.equal(await host.exited, 1)
    assert.equal(host.stderr.text, 'error: no room (data-not-writable)\n')
  })
})

describe('a peer on the command line', () => {
  it('takes commands from standard input, and outlives its end', async () => {
    const host = new FakeHost(['lobby', '--json'])
    const peer = new FakePeer('me')
    const running = run(host, programOf(peer))
    await eventually('it joined', () => host.stdout.text.includes('joined'))
    peer.groups[0]?.meet(memberOf('ana001', 'ana'))
    host.stdin.end('/members\nhello\n')
    await eventually('the text was said', () => host.stdout.text.includes('said'))
    const events = host.stdout.text.trimEnd().split('\n')
    assert.deepEqual(
      events.map(line => JSON.parse(line).event),
      ['listening', 'joined', 'member', 'sent', 'members', 'said']
    )
    assert.deepEqual(host.exits, [])
    host.signal()
    await running
    assert.equal(await host.exited, 0)
  })

  it('ends with /quit', async () => {
    const host = new FakeHost()
    const running = run(host, programOf(new FakePeer()))
    host.stdin.write('/quit\n/quit\n')
    await running
    assert.equal(await host.exited, 0)
  })

  it('that cannot join a topic closes and fails', async () => {
    const host = new FakeHost(['x'.repeat(300)])
    const peer = new FakePeer()
    await run(host, programOf(peer))
    assert.equal(await host.exited, 2)
    assert.ok(peer.signal.aborted)
  })
})

describe('a bootstrap on the command line', () => {
  async function printed(argv: readonly string[], ready: () => Promise<void>): Promise<string> {
    const host = new FakeHost(argv)
    const peer = new FakePeer()
    const bootstrap = Object.assign(peer, { ready })
    const running = run(host, programOf(peer, { start: (_options, io) => startBootstrap(bootstrap, io) }))
    await eventually('it told whether it is ready', () => /DHT|ready|timed-out/.test(host.stdout.text))
    host.signal()
    await running
    assert.equal(await host.exited, 0)
    return host.stdout.text
  }

  it('prints its addresses, how to join, and when it is ready', async () => {
    const text = await printed([], async () => undefined)
    assert.match(text, /^Muster bootstrap 12D3KooW/)
    assert.match(text, /listening on \/ip4\/127\.0\.0\.1\/tcp\/4000\/p2p\/12D3KooW/)
    assert.match(text, /npm run peer -- --bootstrap 127\.0\.0\.1:4000/)
    assert.match(text, /the DHT answers/)
  })

  it('prints JSON lines alone when asked', async () => {
    const lines = (await printed(['--json'], async () => undefined)).trimEnd().split('\n')
    assert.deepEqual(
      lines.map(line => JSON.parse(line).event),
      ['listening', 'ready']
    )
  })

  it('says when its DHT does not answer, and goes on', async () => {
    const text = await printed(['--json'], () => Promise.reject(new MusterError('timed-out')))
    assert.match(text, /"code":"timed-out"/)
  })
})
