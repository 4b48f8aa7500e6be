import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import type { Value } from '../../src/peer/api.ts'
import type { CliEvent } from '../../src/peer/cli/events.ts'
import { joinHints } from '../../src/peer/cli/hint.ts'
import { humanPrinter, jsonPrinter } from '../../src/peer/cli/printer.ts'
import { MAX_SHOWN_TEXT, sanitize } from '../../src/peer/cli/sanitize.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { FakePeer, memberOf } from './cli-fakes.ts'

const SANITIZE = new URL('../../src/peer/cli/sanitize.ts', import.meta.url).href
const ana = memberOf('ana111', 'ana')
const topic = 'global-chat'
const EVIL = 'a\u001b[2J\u009b31m\u202egnp\u2028\nz'

function human(event: CliEvent, colours = false): string {
  const lines: string[] = []
  humanPrinter(line => lines.push(line), colours).print(event)
  return lines.join('\n')
}

function jsonText(event: CliEvent): string | undefined {
  const lines: string[] = []
  jsonPrinter(line => lines.push(line), new ManualClock(0)).print(event)
  assert.ok(lines.length <= 1)
  return lines[0]
}

function json(event: CliEvent): unknown {
  return JSON.parse(jsonText(event) ?? 'null')
}

function message(value: Value, name: string | undefined = 'ana'): CliEvent {
  return { event: 'message', topic, from: ana.peerId, name, id: '1', value, via: 'direct' }
}

/** Arrays in arrays, as JSON.parse makes them from a stranger's text. */
function nested(depth: number): Value {
  return JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as Value
}

describe('text of strangers', () => {
  it('is shown without what a terminal obeys or an eye misses', () => {
    const shown = sanitize(EVIL)
    assert.equal(shown, 'a\\u{1b}[2J\\u{9b}31m\\u{202e}gnp\\u{2028}\\nz')
    assert.doesNotMatch(shown, /\p{Cc}/u)
    assert.equal(
      sanitize(`\t\r\u200b\ufeff${String.fromCharCode(0xd800)}\u{e0041}`),
      '\\t\\r\\u{200b}\\u{feff}\\u{d800}\\u{e0041}'
    )
  })

  it('keeps letters of all languages, and joined emoji', () => {
    for (const text of ['Žluťoučký kůň', 'مرحبا', '你好', '👩‍👩‍👧', 'می‌خواهم']) assert.equal(sanitize(text), text)
  })

  it('is cut when long, and marks do not pile up', () => {
    assert.equal(sanitize('x'.repeat(3000)), `${'x'.repeat(MAX_SHOWN_TEXT)}… (3000 characters)`)
    assert.equal(sanitize(`e${'\u0301'.repeat(50)}`), `e${'\u0301'.repeat(6)}`)
  })
})

describe('lines for people', () => {
  it('never carry an escape sequence that a stranger wrote', () => {
    const events: CliEvent[] = [
      message(EVIL, EVIL),
      message({ [EVIL]: EVIL }),
      { event: 'member', topic: EVIL, ...memberOf('eve001', EVIL) },
      { event: 'left', topic: EVIL, peerId: ana.peerId, name: EVIL, reason: 'lost' },
      { event: 'members', topic: EVIL, members: [memberOf('eve001', EVIL)] },
      { event: 'sent', topic: EVIL, to: ana.peerId, name: EVIL, id: '1', rttMs: 1 },
      { event: 'error', code: 'refused', message: EVIL }
    ]
    for (const event of events) assert.doesNotMatch(human(event), /(?!\n)\p{Cc}|[\u2028\u202e]/u, event.event)
  })

  it('are one line for one message, whatever is in it', () => {
    assert.equal(human(message(EVIL)).split('\n').length, 1)
  })

  it('say who, what and how fast', () => {
    assert.equal(human(message('hi')), '[global-chat] ana (…ana111): hi')
    assert.equal(human(message({ a: 1 })), '[global-chat] ana (…ana111): {"a":1}')
    assert.equal(human(message(Uint8Array.of(1, 255))), '[global-chat] ana (…ana111): 2 bytes 01ff')
    const sent = { event: 'sent', topic, to: ana.peerId, name: undefined, id: '1', rttMs: 1.26 } as const
    assert.equal(human(sent), '[global-chat] ✓ received by …ana111 in 1.3 ms')
    assert.match(human({ event: 'left', topic, peerId: ana.peerId, name: 'ana', reason: 'lost' }), /ana .* was lost/)
    assert.match(human({ event: 'said', topic, id: '1', received: 1, members: 3 }), /received by 1 of 3 members/)
    assert.match(human({ event: 'said', topic, id: '1', received: 3, members: 3 }), /received by all 3 members/)
    assert.match(human({ event: 'said', topic, id: '1', received: 0, members: 0 }), /nobody heard you/)
  })

  it('say what is asked, answered, and was said before', () => {
    const asks = { ...message('how are you?'), question: 3 } as CliEvent
    assert.equal(human(asks), '[global-chat] ana (…ana111) asks: how are you? (/answer 3 …)')
    const before = { ...message('hello'), via: 'history', sentAt: '2026-11-25T10:11:12.000Z' } as CliEvent
    assert.equal(human(before), '[global-chat] 2026-11-25 10:11 ana (…ana111): hello')
    const answer = { event: 'answer', topic, from: ana.peerId, name: 'ana', id: '2', value: 42 } as const
    assert.equal(human(answer), '[global-chat] ✓ ana (…ana111) answers: 42')
    const answered = { event: 'answered', topic, to: ana.peerId, name: 'ana', question: 3 } as const
    assert.equal(human(answered), '[global-chat] ✓ ana (…ana111) has your answer')
    assert.match(human({ event: 'history', topic, messages: 0 }), /--keep/)
    assert.match(human({ event: 'history', topic, messages: 1 }), /1 message from before/)
  })

  it('give an error its code, and each problem a line', () => {
    assert.equal(human({ event: 'error', code: 'refused', message: 'no' }), 'error: no (refused)')
    assert.equal(
      human({ event: 'error', code: 'options-invalid', message: '--a is unknown\n--b is unknown' }),
      'error: 2 problems (options-invalid)\n  --a is unknown\n  --b is unknown'
    )
  })

  it('have colours only when asked', () => {
    assert.ok(human({ event: 'ready' }, true).includes('\u001b[32m'))
    assert.doesNotMatch(human({ event: 'ready' }), /\p{Cc}/u)
  })

  it('show the whole status', async () => {
    const shown = human({ event: 'status', status: await new FakePeer().status() })
    for (const part of [
      'up 1 h 2 min',
      '1 inbound, 2 outbound',
      '3 peers',
      '2.0 KiB',
      'in memory',
      'the DHT answers'
    ]) {
      assert.ok(shown.includes(part), part)
    }
  })

  it('survive a value nested 500,000 levels deep', () => {
    assert.match(human(message(nested(500_000))), /ana/)
  })
})

describe('JSON lines', () => {
  const at = '1970-01-01T00:00:00.000Z'
  const { peerId, addresses } = ana

  it('have exactly the promised fields', () => {
    const cases: Array<[CliEvent, object]> = [
      [
        { event: 'listening', role: 'peer', peerId, addresses, http: 'http://127.0.0.1:1' },
        { event: 'listening', at, peerId, addresses, http: 'http://127.0.0.1:1' }
      ],
      [
        { event: 'listening', role: 'peer', peerId, addresses, http: undefined },
        { event: 'listening', at, peerId, addresses }
      ],
      [{ event: 'ready' }, { event: 'ready', at }],
      [
        { event: 'joined', topic },
        { event: 'joined', at, topic }
      ],
      [
        { event: 'member', topic, ...ana },
        { event: 'member', at, topic, peerId, name: 'ana', addresses, verified: true }
      ],
      [
        { event: 'left', topic, peerId, name: 'ana', reason: 'lost' },
        { event: 'left', at, topic, peerId, reason: 'lost' }
      ],
      [
        message({ a: [1] }),
        { event: 'message', at, topic, from: peerId, name: 'ana', id: '1', via: 'direct', value: { a: [1] } }
      ],
      [
        { event: 'sent', topic, to: peerId, name: 'ana', id: '1', rttMs: 2 },
        { event: 'sent', at, topic, to: peerId, id: '1', rttMs: 2 }
      ],
      [
        { event: 'error', code: 'closed', message: 'gone' },
        { event: 'error', at, code: 'closed', message: 'gone' }
      ]
    ]
    for (const [event, expected] of cases) assert.deepEqual(json(event), expected)
  })

  it('say null for a name that is missing, and base64 for bytes', () => {
    assert.equal((json({ event: 'member', topic, ...memberOf('bob') }) as { name: unknown }).name, null)
    const fields = json(message(Uint8Array.of(1, 2, 3))) as { bytes: unknown }
    assert.equal(fields.bytes, 'AQID')
    assert.ok(!('value' in fields))
  })

  it('carry the text of strangers unharmed and harmless', () => {
    assert.equal((json(message(EVIL)) as { value: unknown }).value, EVIL)
    assert.doesNotMatch(jsonText(message(`${EVIL}\u007f\u{e0041}`)) ?? '', /[\p{Cc}\u2028\u202e\u{e0041}]/u)
  })

  it('are the same JSON whatever is escaped, at a bounded cost', () => {
    const texts = [
      '',
      'a\u007fb',
      '\u{1f600}\u{e0041}\u0085',
      '\ud83d',
      '\u{e0041}',
      '\u{e0100}\u007f',
      `${'\u007f'.repeat(70_000)}\u{e0041}`
    ]
    for (const text of texts) assert.equal((json(message(text)) as { value: unknown }).value, text)
    const script = `const { escapeJson } = await import(${JSON.stringify(SANITIZE)})
      for (const unit of ['\\x7f', 'a\\x7f']) console.log(escapeJson(unit.repeat(${64 * 2 ** 20} / unit.length)).length)`
    const args = ['--max-old-space-size=1024', '--input-type=module', '-e', script]
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.equal(stdout, `${6 * 2 ** 26}\n${7 * 2 ** 25}\n`, stderr)
  })

  it('leave advice for people out', () => {
    assert.equal(json({ event: 'hint', text: 'try /help' }), null)
  })

  it('answer a value that cannot be written with an error line', () => {
    const unwritable = {
      toJSON() {
        throw new RangeError('Maximum call stack size exceeded')
      }
    } as unknown as Value
    assert.equal((json(message(unwritable)) as { code: unknown }).code, 'value-invalid')
  })
})

describe('the hint of a bootstrap', () => {
  it('names a place for this machine and one for others', () => {
    assert.deepEqual(
      joinHints([`/ip4/127.0.0.1/tcp/8468/p2p/${ana.peerId}`, `/ip4/10.0.0.5/tcp/8468/p2p/${ana.peerId}`]),
      [
        'Peers on this machine join with:  npm run peer',
        'Peers elsewhere join with:        npm run peer -- --bootstrap 10.0.0.5:8468'
      ]
    )
    assert.deepEqual(joinHints([`/ip4/127.0.0.1/tcp/9000/p2p/${ana.peerId}`]), [
      'Peers on this machine join with:  npm run peer -- --bootstrap 127.0.0.1:9000'
    ])
  })
})
