import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseAddress, shortAddress } from '../../src/shared/core/address.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'

const ID = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'

describe('address', () => {
  const good: ReadonlyArray<readonly [string, { address: string; peerId?: string }]> = [
    ['127.0.0.1:8468', { address: '/ip4/127.0.0.1/tcp/8468' }],
    ['  127.0.0.1:8468\n', { address: '/ip4/127.0.0.1/tcp/8468' }],
    ['[::1]:8468', { address: '/ip6/::1/tcp/8468' }],
    ['example.org:80', { address: '/dns/example.org/tcp/80' }],
    ['bootstrap:8468', { address: '/dns/bootstrap/tcp/8468' }],
    ['/ip4/127.0.0.1/tcp/8468', { address: '/ip4/127.0.0.1/tcp/8468' }],
    [`/ip4/127.0.0.1/tcp/8468/p2p/${ID}`, { address: '/ip4/127.0.0.1/tcp/8468', peerId: ID }],
    [`/dns4/example.org/tcp/443/ws/p2p/${ID}`, { address: '/dns4/example.org/tcp/443/ws', peerId: ID }]
  ]
  for (const [text, expected] of good) {
    it(`${JSON.stringify(text)} is ${expected.address}${expected.peerId === undefined ? '' : ' of a known peer'}`, () => {
      assert.deepEqual(parseAddress(text), expected)
    })
  }

  const bad = [
    '',
    ' ',
    '127.0.0.1',
    ':8468',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '127.0.0.1:-1',
    '256.0.0.1:80',
    '1.2.3:80',
    '::1:8468',
    '[::1]',
    '[::g]:80',
    'host name:80',
    'http://example.org:80',
    '/',
    '/ip4/127.0.0.1',
    '/ip4/127.0.0.1/udp/8468',
    '/ip4/127.0.0.1/tcp/99999',
    `/p2p/${ID}`
  ]
  for (const text of bad) {
    it(`${JSON.stringify(text)} is refused`, () => {
      assert.throws(
        () => parseAddress(text),
        error => isMusterError(error, 'address-invalid')
      )
    })
  }

  it('is short for people where it is simple', () => {
    assert.equal(shortAddress('/ip4/127.0.0.1/tcp/8468'), '127.0.0.1:8468')
    assert.equal(shortAddress('/ip6/::1/tcp/8468'), '[::1]:8468')
    assert.equal(shortAddress('/dns/example.org/tcp/8468'), 'example.org:8468')
    assert.equal(shortAddress('/ip4/127.0.0.1/tcp/8468/ws'), '/ip4/127.0.0.1/tcp/8468/ws')
  })

  it('short form and multiaddr are the same place', () => {
    for (const text of ['127.0.0.1:8468', '[::1]:8468', 'example.org:80']) {
      assert.equal(shortAddress(parseAddress(text).address), text)
    }
  })
})
