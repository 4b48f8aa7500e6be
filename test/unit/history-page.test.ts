import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  askFrame,
  endFrame,
  entryFrame,
  HISTORY_REFUSALS,
  historyRefusalFrame,
  readHistoryFrame
} from '../../src/shared/history/frame.ts'
import * as limits from '../../src/shared/history/limits.ts'
import { encodeFrames, FrameDecoder } from '../../src/shared/wire/frames.ts'
import {
  HISTORY_PROTOCOL,
  type HistoryFrame,
  MAX_HISTORY_FRAME_BYTES,
  MAX_HISTORY_MESSAGES
} from '../../src/shared/wire/history.ts'
import { LOBBY } from '../support/history-world.ts'
import { readPage } from '../support/page.ts'

const page = readPage('docs/protocols/history.md')
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const vectors: Record<string, { frame: Uint8Array; says: HistoryFrame }> = {
  'ASK lobby, the newest 100': {
    frame: askFrame(LOBBY.key, bytes('record'), 100),
    says: { ask: { topic: LOBBY.key, envelope: bytes('record'), limit: 100 } }
  },
  ENTRY: { frame: entryFrame(bytes('proof')), says: { entry: { proof: bytes('proof') } } },
  END: { frame: endFrame(), says: { end: {} } },
  'REFUSAL not-kept': { frame: historyRefusalFrame('not-kept'), says: { refusal: { code: 'not-kept' } } },
  'REFUSAL not-a-member': { frame: historyRefusalFrame('not-a-member'), says: { refusal: { code: 'not-a-member' } } },
  'REFUSAL limit-reached': { frame: historyRefusalFrame('limit-reached'), says: { refusal: { code: 'limit-reached' } } }
}

describe('docs/protocols/history.md', () => {
  const written = new Map(
    page
      .section('Test vectors')
      .table()
      .map(([name = '', hex = '']) => [name, hex])
  )

  it('has the vectors of this test and no others', () => {
    assert.deepEqual([...written.keys()], Object.keys(vectors))
    assert.ok(page.text.includes(LOBBY.id))
  })

  for (const [name, { frame, says }] of Object.entries(vectors)) {
    it(`has the bytes of ${name}`, () => {
      const hex = written.get(name) ?? ''
      assert.equal(Buffer.from(encodeFrames([frame])).toString('hex'), hex)
      const [body, ...more] = new FrameDecoder(MAX_HISTORY_FRAME_BYTES).push(Uint8Array.from(Buffer.from(hex, 'hex')))
      assert.ok(body !== undefined && more.length === 0)
      assert.deepEqual(asText(readHistoryFrame(body)), asText(says))
    })
  }

  it('has the limits of the code, by name and number', () => {
    const inCode = Object.entries({ ...limits, MAX_HISTORY_FRAME_BYTES, MAX_HISTORY_MESSAGES })
    assert.deepEqual(page.section('Limits').numbers(), Object.fromEntries(inCode))
  })

  it('names the protocol and the codes', () => {
    assert.ok(page.text.includes(`/muster/<network>/${HISTORY_PROTOCOL}`))
    for (const code of HISTORY_REFUSALS) assert.ok(page.text.includes(`\`${code}\``))
  })
})

/** Byte strings as hex: a Buffer and a Uint8Array of the same bytes are equal. */
function asText(frame: HistoryFrame): unknown {
  return JSON.parse(
    JSON.stringify(frame, (_key, part) => (part instanceof Uint8Array ? Buffer.from(part).toString('hex') : part))
  )
}
