import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { multiaddr } from '@multiformats/multiaddr'
import { dialable, mayAnnounce, mayDial, PRESETS } from '../../src/shared/node/presets.ts'

const PEER = '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf'

describe('what may be dialled when a stranger names it', () => {
  const everywhere = ['/ip4/8.8.8.8/tcp/1', '/ip6/2606:4700::1/tcp/1', `/ip4/8.8.8.8/tcp/1/p2p/${PEER}`]
  const privately = [
    '/ip4/127.0.0.1/tcp/1',
    '/ip4/10.1.2.3/tcp/1',
    '/ip4/192.168.1.1/tcp/1',
    '/ip4/172.17.0.2/tcp/1',
    '/ip6/::1/tcp/1',
    '/ip6/fd00::1/tcp/1'
  ]
  const nowhere = [
    '/dns/example.org/tcp/1', // a stranger must not make us ask a name server
    '/dns4/localhost/tcp/1',
    '/dnsaddr/example.org',
    '/ip4/0.0.0.0/tcp/1',
    '/ip6/::/tcp/1',
    '/ip4/224.0.0.1/tcp/1',
    '/ip4/239.255.255.255/tcp/1',
    '/ip4/255.255.255.255/tcp/1',
    '/ip6/ff02::1/tcp/1',
    '/ip4/8.8.8.8/udp/1',
    '/ip4/8.8.8.8/tcp/1/ws',
    `/ip4/8.8.8.8/tcp/1/p2p/${PEER}/p2p-circuit`,
    `/p2p/${PEER}`,
    '/unix/tmp'
  ]
  for (const preset of PRESETS) {
    for (const address of everywhere) it(`${preset}: ${address}`, () => assert.ok(mayDial(preset, multiaddr(address))))
    for (const address of nowhere)
      it(`${preset}: not ${address}`, () => assert.ok(!mayDial(preset, multiaddr(address))))
  }
  for (const address of privately) {
    it(`private alone: ${address}`, () => {
      assert.ok(mayDial('private', multiaddr(address)))
      assert.ok(!mayDial('public', multiaddr(address)))
      assert.ok(mayAnnounce('private', multiaddr(address)))
      assert.ok(!mayAnnounce('public', multiaddr(address)))
    })
  }

  it('drops what is no address at all, and keeps the order of the rest', () => {
    const texts = [
      '/ip4/8.8.8.8/tcp/1',
      'rubbish',
      '',
      '/ip4/999.1.1.1/tcp/1',
      '/ip4/1.1.1.1/tcp/99999',
      '/ip4/1.1.1.1/tcp/2'
    ]
    assert.deepEqual(dialable('public', texts), ['/ip4/8.8.8.8/tcp/1', '/ip4/1.1.1.1/tcp/2'])
  })
})
