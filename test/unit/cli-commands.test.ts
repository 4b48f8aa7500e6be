import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { COMMANDS, MAX_LINE_BYTES, runLine } from '../../src/peer/cli/commands.ts'
import { completeCommand, openConsole, readLines } from '../../src/peer/cli/console.ts'
import { findMember } from '../../src/peer/cli/member-names.ts'
import { Output } from '../../src/peer/cli/output.ts'
import { createSession } from '../../src/peer/cli/session.ts'
import { isMusterError, MusterError } from '../../src/shared/core/errors.ts'
import { eventually } from '../support/eventually.ts'
import { FakePeer, memberOf, Record, SELF, Text } from './cli-fakes.ts'

const ana = memberOf('ana001', 'ana')
const bob = memberOf('bob002', 'Bob B')
const nameless = memberOf('non003')
const INIT = {
  quit() {},
  files: { serve() {}, async send() {} },
  output: new Output(new Text()),
  isInteractive: false
}

async function console(...topics: string[]) {
  const given: Array<[to: string, path: string]> = []
  const files = {
    serve() {},
    async send(_group: unknown, { peerId }: { peerId: string }, path: string) {
      given.push([peerId, path])
      if (path === 'lost') throw new MusterError('closed', 'the other side broke the stream')
    }
  }
  const peer = new FakePeer('me')
  const record = new Record()
  const quits: number[] = []
  const session = createSession(peer, record, { ...INIT, files, quit: () => quits.push(1) })
  for (const topic of topics) await session.join(topic)
  const [group] = peer.groups
  return { peer, record, session, quits, given, group: group!, type: (line: string) => runLine(session, line) }
}

describe('meeting a member', () => {
  it('prints it, sends it a test message and prints the receipt', async () => {
    const { group, record } = await console('lobby')
    group.meet(ana)
    await eventually('the receipt is printed', () => record.all('sent').length === 1)
    assert.deepEqual(group.sent, [{ to: ana.peerId, value: { test: 'hello', from: 'me' } }])
    assert.deepEqual(
      record.events.map(({ event }) => event),
      ['joined', 'member', 'sent']
    )
  })

  it('greets once, and only one that was reached', async () => {
    const { group, record } = await console('lobby')
    group.meet({ ...ana, verified: false })
    group.emit('member', ana)
    group.emit('member', ana)
    await eventually('the receipt is printed', () => record.all('sent').length > 0)
    assert.equal(group.sent.length, 1)
    assert.equal(record.all('member').length, 3)
  })

  it('greets again one that left and came back', async () => {
    const { group } = await console('lobby')
    group.emit('member', ana)
    group.emit('left', { peerId: ana.peerId, name: 'ana', reason: 'goodbye' })
    group.emit('member', ana)
    assert.equal(group.sent.length, 2)
  })

  it('shows a greeting that failed with its code', async () => {
    const { group, record } = await console('lobby')
    group.failures.set(ana.peerId, new MusterError('timed-out', 'no receipt within 10000 ms'))
    group.meet(ana)
    await eventually('the failure is printed', () => record.all('error').length === 1)
    assert.deepEqual(record.error().code, 'timed-out')
    assert.match(record.error().message, /ana001/)
  })

  it('also notices those found before anybody listened', async () => {
    const peer = new FakePeer()
    const record = new Record()
    const join = peer.join.bind(peer)
    peer.join = async topic => {
      const group = await join(topic)
      group.list.push(ana)
      return group
    }
    await createSession(peer, record, INIT).join('lobby')
    assert.equal(record.all('member').length, 1)
  })
})

describe('the session', () => {
  it('prints ready, now or later, problems, messages and those who leave', async () => {
    const { peer, group, record } = await console('lobby')
    peer.emit('ready', undefined)
    peer.emit('problem', new MusterError('bootstrap-identity-changed') as never)
    group.hear(ana, { a: 1 })
    group.emit('left', { peerId: ana.peerId, name: 'ana', reason: 'lost' })
    assert.deepEqual(
      record.events.map(({ event }) => event),
      ['joined', 'ready', 'error', 'message', 'left']
    )
    const again = new Record()
    peer.isReady = true
    createSession(peer, again, INIT)
    assert.equal(again.all('ready').length, 1)
  })
})

describe('/send-file', () => {
  it('takes a member and a path, which may have spaces', async () => {
    const { group, given, type } = await console('lobby')
    group.list.push(ana, bob)
    await type('/send-file ana ./a report.txt')
    await type('/send-file "Bob B" "./a report.txt"')
    assert.deepEqual(given, [
      [ana.peerId, './a report.txt'],
      [bob.peerId, './a report.txt']
    ])
  })

  it('says what is missing, and who did not get the file', async () => {
    const { group, record, given, type } = await console('lobby')
    group.list.push(ana)
    for (const line of ['/send-file', '/send-file ana', '/send-file ana ""']) {
      await type(line)
      assert.match(record.error().message, /^\/send-file expects .*: \/send-file <member> <path>$/)
    }
    assert.deepEqual(given, [])
    await type('/send-file ana lost')
    assert.equal(record.error().code, 'closed')
    assert.match(record.error().message, /^"lost" was not received by …ana001: the other side broke the stream$/)
  })

  it('does not keep one who types waiting', async () => {
    const { peer, record } = await console()
    const sent = Promise.withResolvers<void>()
    const files = { serve() {}, send: () => sent.promise }
    const session = createSession(peer, record, { ...INIT, files, isInteractive: true })
    await session.join('lobby')
    peer.groups[0]!.list.push(ana)
    await runLine(session, '/send-file ana large')
    sent.reject(new MusterError('refused', 'no space'))
    await eventually('the failure is printed', () => record.error().code === 'refused')
  })
})

describe('typed text', () => {
  it('is broadcast, and says how many received it', async () => {
    const { group, record, type } = await console('lobby')
    group.list.push(ana, bob)
    group.failures.set(bob.peerId, new MusterError('unreachable'))
    await type('  hello there ')
    await type('/broadcast {"a":1}')
    assert.deepEqual(group.said, ['hello there', { a: 1 }])
    assert.deepEqual(record.all('said')[0], { event: 'said', topic: 'lobby', id: 'b1', received: 1, members: 2 })
    await type('/broadcast')
    assert.equal(record.error().code, 'command-invalid')
  })

  it('may start with a slash, written twice', async () => {
    const { group, type } = await console('lobby')
    group.list.push(ana)
    await type('//etc/hosts')
    assert.equal(group.said[0], '/etc/hosts')
  })

  it('needs a topic, and an empty line is nothing', async () => {
    const { record, type } = await console()
    await type('   ')
    assert.equal(record.events.length, 0)
    await type('hello')
    assert.equal(record.error().code, 'command-invalid')
    assert.match(record.error().message, /\/join/)
  })

  it('over 1 MiB is refused', async () => {
    const { record, type } = await console('lobby')
    await type('x'.repeat(MAX_LINE_BYTES + 1))
    assert.equal(record.error().code, 'too-large')
  })
})

describe('/send', () => {
  it('sends text, JSON, and to a nick with spaces', async () => {
    const { group, record, type } = await console('lobby')
    group.list.push(ana, bob)
    await type('/send ana hello  you')
    await type('/send …ana001 {"a": [1]}')
    await type('/send "Bob B" true')
    assert.deepEqual(
      group.sent.map(({ value }) => value),
      ['hello  you', { a: [1] }, true]
    )
    assert.equal(record.all('sent').length, 3)
  })

  it('says what it expected', async () => {
    const { group, record, type } = await console('lobby')
    group.list.push(ana)
    for (const line of ['/send', '/send ana', '/send zoe hi']) {
      await type(line)
      assert.equal(record.error().code, 'command-invalid', line)
    }
    group.failures.set(ana.peerId, new MusterError('too-large'))
    await type('/send ana hi')
    assert.equal(record.error().code, 'too-large')
    assert.equal(group.sent.length, 0)
  })
})

describe('/ask and /answer', () => {
  it('print the answer of a member, or of everybody', async () => {
    const { group, record, type } = await console('lobby')
    group.list.push(ana, bob)
    await type('/ask ana {"n":1}')
    assert.deepEqual(record.all('answer')[0]?.value, { n: 1 })
    group.failures.set(bob.peerId, new MusterError('no-handler', 'nobody listens'))
    await type('/ask * again')
    assert.deepEqual(record.all('answer')[1]?.from, ana.peerId)
    assert.match(record.error().message, /not answered by …bob/)
    for (const line of ['/ask', '/ask ana', '/ask zoe hi', '/answer', '/answer x y', '/answer 1', '/answer 1 late']) {
      await type(line)
      assert.equal(record.error().code, 'command-invalid', line)
    }
  })

  it('give an answer to who asked, once', async () => {
    const { group, record, type } = await console('lobby')
    const answers = group.beAsked(ana, 'how are you?')
    const question = record.all('message')[0]?.question
    assert.equal(question, 1)
    await type('/answer 1 "fine"')
    assert.deepEqual(answers, ['fine'])
    assert.equal(record.all('answered').length, 1)
    await type('/answer 1 again')
    assert.equal(record.error().code, 'command-invalid')
  })
})

describe('/history', () => {
  it('prints what was said before', async () => {
    const { group, record, type } = await console('lobby')
    group.past.push('one', 'two', 'three')
    await type('/history 2')
    assert.deepEqual(
      record.all('message').map(({ value, via }) => [value, via]),
      [
        ['two', 'history'],
        ['three', 'history']
      ]
    )
    assert.deepEqual(record.events.at(-1), { event: 'history', topic: 'lobby', messages: 2 })
    await type('/history many')
    assert.equal(record.error().code, 'command-invalid')
  })
})

describe('/join, /topic and /leave', () => {
  it('move where typed text goes', async () => {
    const { peer, record, session, type } = await console('one')
    await type('/join two words')
    assert.equal(session.current?.topic, 'two words')
    await type('/topic one')
    assert.equal(session.current?.topic, 'one')
    await type('/topic')
    assert.deepEqual(record.events.at(-1), { event: 'topic', topic: 'one' })
    await type('/leave')
    assert.equal(session.current?.topic, 'two words')
    const left = { event: 'left', topic: 'one', peerId: SELF, name: 'me', reason: 'goodbye', isSelf: true }
    assert.deepEqual(record.all('left')[0], left)
    await type('/leave two words')
    assert.equal(peer.groups.length, 0)
    assert.equal(session.current, undefined)
  })

  it('explain bad input', async () => {
    const { record, type } = await console('one')
    const cases = [
      ['/join', 'command-invalid'],
      ['/join one', 'already-joined'],
      [`/join ${'x'.repeat(300)}`, 'topic-invalid'],
      ['/topic nowhere', 'command-invalid'],
      ['/leave nowhere', 'command-invalid'],
      [`/leave ${'x'.repeat(300)}`, 'topic-invalid']
    ]
    for (const [line = '', code] of cases) {
      await type(line)
      assert.equal(record.error().code, code, line)
    }
    await type('/leave')
    for (const line of ['/leave', '/topic', '/members', '/send ana hi']) {
      await type(line)
      assert.match(record.error().message, /in no topic/, line)
    }
  })
})

describe('the other commands', () => {
  it('/members lists the current topic or another', async () => {
    const { group, record, type } = await console('one', 'two')
    group.list.push(ana)
    await type('/members')
    assert.deepEqual(record.all('members').at(-1)?.members, [])
    await type('/members one')
    assert.deepEqual(record.all('members').at(-1)?.members, [ana])
    await type('/members three')
    assert.equal(record.error().code, 'command-invalid')
  })

  it('/disconnect says what is given up', async () => {
    const { record, type } = await console()
    await type('/disconnect 127.0.0.1:8468')
    assert.deepEqual(record.all('disconnected'), [{ event: 'disconnected', address: '127.0.0.1:8468' }])
    await type('/disconnect nonsense')
    assert.equal(record.error().code, 'address-invalid')
    await type('/disconnect')
    assert.equal(record.error().code, 'command-invalid')
  })

  it('/connect says whom it reached', async () => {
    const { record, type } = await console()
    await type('/connect 127.0.0.1:8468')
    assert.equal(record.all('connected').length, 1)
    await type('/connect nonsense')
    assert.equal(record.error().code, 'address-invalid')
    await type('/connect')
    assert.match(record.error().message, /expects an address/)
  })

  it('/status and /quit', async () => {
    const { quits, record, type } = await console()
    await type('/status')
    assert.equal(record.all('status').length, 1)
    await type('/status now')
    assert.equal(record.error().code, 'command-invalid')
    await type('/QUIT')
    assert.equal(quits.length, 1)
  })

  it('/help lists every command, or one', async () => {
    const { record, type } = await console()
    await type('/help')
    assert.equal(record.all('help')[0]?.commands.length, COMMANDS.length)
    for (const { name, help } of COMMANDS) {
      await type(`/help ${name}`)
      await type(`/help /${name}`)
      assert.equal(record.all('help').at(-1)?.commands[0]?.help, help)
    }
    await type('/help nothing')
    assert.equal(record.error().code, 'command-invalid')
  })

  it('unknown ones are answered with what was meant, perhaps', async () => {
    const { record, type } = await console()
    await type('/mem')
    assert.match(record.error().message, /did you mean \/members/)
    for (const line of ['/', '/ x', '/xyzzy', `/${'y'.repeat(5000)}`]) {
      await type(line)
      assert.equal(record.error().code, 'command-invalid', line)
      assert.ok(record.error().message.length < 200)
    }
  })

  it('print what fails because the peer is closing, and do not hide defects', async () => {
    const { peer, record, type } = await console()
    peer.status = () => Promise.reject(new TypeError('a defect'))
    await assert.rejects(type('/status'), TypeError)
    await peer.close()
    await type('/status')
    assert.equal(record.error().code, 'closed')
  })
})

describe('naming a member', () => {
  const members = [ana, bob, nameless]
  const found = (text: string): string | undefined => findMember(members, text).peerId
  const isRefused = (error: unknown): boolean => isMusterError(error, 'command-invalid')

  it('takes nick, peer id, and the beginning or end of either', () => {
    for (const text of ['ana', '@ana', 'ANA', 'an', ana.peerId, 'ana001', '…ana001', '...001', 'a001']) {
      assert.equal(found(text), ana.peerId, text)
    }
    assert.equal(found('bob'), bob.peerId)
    assert.equal(found('003'), nameless.peerId)
  })

  it('refuses what fits nobody or several', () => {
    for (const text of ['zoe', '', '…', '12D3KooW', '…ana']) assert.throws(() => found(text), isRefused, text)
    const twins = [ana, memberOf('two002', 'ana')]
    assert.throws(() => findMember(twins, 'ana'), /fits 2 members \(…ana001, …two002\)/)
  })

  it('lets nobody pass for another by a nick that looks like an id', () => {
    const thief = memberOf('evil99', 'ana001')
    assert.throws(() => findMember([thief, ana], 'ana001'), /fits 2 members/)
    assert.equal(findMember([thief, ana], '…ana001'), ana)
    const copy = memberOf('evil98', ana.peerId)
    assert.equal(findMember([copy, ana], ana.peerId), ana)
  })
})

describe('standard input without a terminal', () => {
  async function read(...chunks: Array<string | Buffer>): Promise<{ lines: string[]; refused: string[] }> {
    const input = new PassThrough()
    const lines: string[] = []
    const refused: string[] = []
    const reading = readLines(
      input,
      async line => void lines.push(line),
      ({ code }) => refused.push(code),
      new AbortController().signal
    )
    for (const chunk of chunks) input.write(chunk)
    input.end()
    await reading
    return { lines, refused }
  }

  it('is read a line at a time, however it is cut', async () => {
    const euro = Buffer.from('€\n')
    const { lines } = await read('on', 'e\ntwo\r\n\nfo', 'ur\n', euro.subarray(0, 1), euro.subarray(1), 'last')
    assert.deepEqual(lines, ['one', 'two', '', 'four', '€', 'last'])
  })

  it('is not waited for when the program ends', async () => {
    const input = new PassThrough()
    const controller = new AbortController()
    const lines: string[] = []
    const take = async (line: string): Promise<void> => void lines.push(line)
    const reading = readLines(input, take, assert.fail, controller.signal)
    input.write('one\nhalf of')
    await eventually('the first line is here', () => lines.length === 1)
    controller.abort()
    await reading
    assert.deepEqual(lines, ['one'])
    assert.ok(input.destroyed)
    await readLines(new PassThrough(), take, assert.fail, controller.signal) // it had ended before
  })

  it('may be empty', async () => {
    assert.deepEqual(await read(), { lines: [], refused: [] })
  })

  it('has long lines refused without ending', async () => {
    const long = 'x'.repeat(MAX_LINE_BYTES)
    const { lines, refused } = await read(`${long}\r\n`, long, 'y', long, '\nafter\n', `${long}z`)
    assert.deepEqual(
      lines.map(({ length }) => length),
      [MAX_LINE_BYTES, 5]
    )
    assert.deepEqual(refused, ['too-large', 'too-large'])
  })

  it('that breaks is one that ended', async () => {
    const input = new PassThrough()
    const reading = readLines(
      input,
      async () => undefined,
      () => undefined,
      new AbortController().signal
    )
    input.destroy(new Error('read EIO'))
    await reading
  })
})

describe('the console on a terminal', () => {
  it('keeps what is being typed below what is printed', async () => {
    const input = new PassThrough()
    const output = new Text()
    const shown = openConsole(input, output)
    const lines: string[] = []
    shown.write('before')
    shown.start(
      async line => void lines.push(line),
      () => 'lobby',
      () => undefined
    )
    input.write('hel')
    await eventually('the letters are echoed', () => output.text.endsWith('hel'))
    output.text = ''
    shown.write('[lobby] ana: hi')
    assert.match(output.text, /\[lobby\] ana: hi\n.*lobby> hel/su)
    input.write('lo\r')
    await eventually('the line is handled', () => lines.length === 1)
    assert.deepEqual(lines, ['hello'])
    shown.close()
    shown.close()
    shown.write('after')
    assert.ok(output.text.endsWith('\nafter\n'))
  })

  it('passes on Ctrl-C and Ctrl-D', async () => {
    for (const key of ['\u0003', '\u0004']) {
      const input = new PassThrough()
      const shown = openConsole(input, new Text())
      const interrupted = Promise.withResolvers<void>()
      shown.start(
        async () => undefined,
        () => '',
        () => interrupted.resolve()
      )
      input.write(key)
      await interrupted.promise
      shown.close()
    }
  })

  it('completes the names of commands', () => {
    assert.deepEqual(completeCommand('/st'), [['/status '], '/st'])
    assert.deepEqual(completeCommand('hello'), [[], 'hello'])
  })
})
