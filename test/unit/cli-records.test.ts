import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { runLine } from '../../src/peer/cli/commands.ts'
import { Output } from '../../src/peer/cli/output.ts'
import { jsonPrinter } from '../../src/peer/cli/printer.ts'
import { createSession } from '../../src/peer/cli/session.ts'
import { MAX_WATCHES } from '../../src/peer/cli/watches.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { eventually } from '../support/eventually.ts'
import { FakePeer, memberOf, Record, SELF, Text } from './cli-fakes.ts'

function console() {
  const peer = new FakePeer('me')
  const record = new Record()
  const output = new Output(new Text())
  const init = { quit() {}, files: { serve() {}, async send() {} }, output, isInteractive: false }
  const session = createSession(peer, record, init)
  return { peer, record, type: (line: string) => runLine(session, line) }
}

const OTHER = memberOf('other1').peerId

describe('records in the console', () => {
  it('/put takes JSON or text, and says how many nodes stored it', async () => {
    const { peer, record, type } = console()
    await type('/put colour {"a": 1}')
    await type('/put "two words" some text')
    await type('/put --own mine 5')
    assert.deepEqual(
      peer.records.asked.map(([, key, value]) => [key, value]),
      [
        ['colour', { a: 1 }],
        ['two words', 'some text'],
        [{ name: 'mine' }, 5]
      ]
    )
    const [, , last] = record.all('stored')
    assert.deepEqual([last?.key, last?.stored, last?.isQuorum], [{ owner: SELF, name: 'mine' }, 5, true])
  })

  it('/get prints the record, or that there is none', async () => {
    const { peer, record, type } = console()
    await type('/get colour')
    assert.deepEqual(record.events, [{ event: 'no-record', key: 'colour' }])
    await type('/put colour "red"')
    await type('/get colour')
    const [found] = record.all('record')
    assert.deepEqual([found?.key, found?.value, found?.holders, found?.answers], ['colour', 'red', 3, 4])
    await type(`/get --owner ${OTHER} colour`)
    await type('/get --content bafkreifake')
    await type('/get --own colour')
    await type('/get "--own"')
    assert.deepEqual(
      peer.records.asked.slice(-4).map(([, key]) => key),
      [{ owner: OTHER, name: 'colour' }, { content: 'bafkreifake' }, { name: 'colour' }, '--own']
    )
  })

  it('/delete deletes, and /records lists what is left', async () => {
    const { record, type } = console()
    await type('/put a 1')
    await type('/put b 2')
    await type('/delete a')
    await type('/records')
    assert.deepEqual(
      record.events.map(({ event }) => event),
      ['stored', 'stored', 'deleted', 'own-record', 'records']
    )
    assert.equal(record.all('own-record')[0]?.key, 'b')
    assert.equal(record.all('records')[0]?.records, 1)
  })

  it('/watch prints each version until /unwatch', async () => {
    const { record, type } = console()
    await type('/put a 1')
    await type('/watch a')
    await eventually('the first version is printed', () => record.all('record').length === 1)
    await type('/put a 2')
    await type('/delete a')
    await eventually('all versions are printed', () => record.all('record').length === 3)
    assert.deepEqual(
      record.all('record').map(({ value }) => value),
      [1, 2, undefined]
    )
    await type('/unwatch a')
    assert.deepEqual(record.events.at(-1), { event: 'unwatched', key: 'a' })
    await type('/put a 3')
    await type('/unwatch')
    assert.equal(record.error().message, 'nothing is watched')
    assert.equal(record.all('record').length, 3)
  })

  it('/watch takes a key once, by whatever name, and so many keys', async () => {
    const { record, type } = console()
    await type('/watch --own a')
    await type(`/watch --owner ${SELF} a`)
    assert.equal(record.error().message, 'that key is watched already')
    await type('/unwatch b')
    assert.equal(record.error().message, 'that key is not watched')
    for (let n = 1; n < MAX_WATCHES; n++) await type(`/watch key ${n}`.replace('key ', 'key'))
    await type('/watch one-more')
    assert.equal(record.error().code, 'limit-reached')
    await type('/unwatch')
    assert.equal(record.all('unwatched').length, MAX_WATCHES)
  })

  it('says kindly what is missing', async () => {
    const { peer, record, type } = console()
    for (const [line, message] of [
      ['/put', '/put expects a key and a value: /put [--own] <key> <text or JSON>'],
      ['/put colour', '/put expects a value after the key: /put [--own] <key> <text or JSON>'],
      ['/put --owner x y z', '/put expects no --owner: /put [--own] <key> <text or JSON>'],
      ['/get', '/get expects a key: /get [--own | --owner <peer id> | --content] <key>'],
      ['/get --ow a', '/get expects no --ow: /get [--own | --owner <peer id> | --content] <key>'],
      ['/delete a b', '/delete expects one key ("in quotes" if it has spaces): /delete [--own] <key>'],
      ['/records all', '/records expects nothing after it: /records'],
      ['/pu', 'there is no command /pu; did you mean /put [--own] <key> <text or JSON>?']
    ] as const) {
      await type(line)
      assert.deepEqual([record.error().code, record.error().message], ['command-invalid', message], line)
    }
    assert.deepEqual(peer.records.asked, [])
  })

  it('shows failures with their code', async () => {
    const { peer, record, type } = console()
    peer.records.failure = new MusterError('unreachable', 'no node could be asked')
    for (const line of ['/put a 1', '/get a', '/delete a', '/records']) {
      await type(line)
      assert.equal(record.error().code, 'unreachable', line)
    }
    await type('/watch a')
    await eventually('the watch says why it ended', () => record.error().code === 'unreachable')
  })

  it('goes into JSON lines, bytes as base64', async () => {
    const { record, type, peer } = console()
    await peer.records.put('raw', Uint8Array.of(1, 2, 3))
    await type('/get raw')
    await type('/delete raw')
    const lines: string[] = []
    const printer = jsonPrinter(line => lines.push(line), new ManualClock())
    for (const event of record.events) printer.print(event)
    const [found, deleted] = lines.map(line => JSON.parse(line) as object)
    const common = { at: '2023-11-14T22:13:20.000Z', key: 'raw', expiresAt: '2026-11-27T00:00:00.000Z' }
    assert.deepEqual(found, {
      ...common,
      ...{ event: 'record', bytes: 'AQID', author: SELF, sequence: 1, issuedAt: '2026-11-25T00:00:00.000Z' },
      ...{ holders: 3, answers: 4 }
    })
    assert.deepEqual(deleted, { ...common, event: 'deleted', sequence: 2, stored: 5, isQuorum: true })
  })
})
