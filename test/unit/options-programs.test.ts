import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as bootstrap from '../../src/bootstrap/options.ts'
import * as peer from '../../src/peer/options.ts'
import { optionsTable } from '../../src/shared/core/command-line.ts'
import { checkOptions, type OptionTable } from '../../src/shared/core/options.ts'

const PROGRAMS = { bootstrap, peer }

for (const [name, { commandLineFrom }] of Object.entries(PROGRAMS)) {
  const table: OptionTable = name === 'peer' ? peer.PEER_OPTIONS : bootstrap.BOOTSTRAP_OPTIONS

  describe(`the command line of the ${name}`, () => {
    const isAccepted = (flag: string, text: string): boolean => {
      try {
        commandLineFrom([`${flag}=${text}`], {})
        return true
      } catch {
        return false
      }
    }

    it('has a flag of its own and a variable of its own for each option', () => {
      const rows = Object.values(table)
      for (const { flag, env } of rows) {
        assert.match(flag, /^--[a-z]+(-[a-z]+)*$/)
        assert.ok(env === undefined || env === `MUSTER_${flag.slice(2).toUpperCase().replaceAll('-', '_')}`, flag)
      }
      assert.equal(new Set(rows.map(({ flag }) => flag)).size, rows.length)
    })

    it('accepts its own defaults', () => {
      for (const row of optionsTable(table)) {
        const option = table[row.key]
        if (option?.kind === 'text' && option.default !== undefined) assert.ok(isAccepted(option.flag, option.default))
        if (option?.kind === 'list') for (const item of option.default) assert.ok(isAccepted(option.flag, item))
      }
    })

    const ACCEPTED: Record<string, string[]> = {
      '--listen': ['127.0.0.1:0', '[::]:8468', '/ip4/0.0.0.0/tcp/8468', '/ip6/::/tcp/0', ' 0.0.0.0:1 '],
      '--bootstrap': [
        'example.org:8468',
        'bootstrap:8468',
        '/dns4/example.org/tcp/8468',
        '/ip4/127.0.0.1/tcp/8468/p2p/12D3KooWGjMCwSbB9rmQyTQ3aoTZ9GX8KL8TmTWRkGLGWpMDVUqj'
      ],
      '--announce': ['203.0.113.7:8468', '[2001:db8::1]:8468'],
      '--network': ['a', 'muster-2', 'x'.repeat(32)],
      '--preset': ['private', 'public'],
      '--http': ['off', '127.0.0.1:8469', '[::1]:0', '0.0.0.0:8469'],
      '--log-level': ['debug', 'info', 'warn', 'error', 'silent'],
      '--data': ['data', '/var/lib/muster', 'C:\\muster']
    }
    const REFUSED: Record<string, string[]> = {
      '--listen': ['', '8468', 'localhost:8468', '1.2.3.4', '1.2.3.4:65536', '999.1.1.1:1', '/ip4/1.2.3.4/udp/1'],
      '--bootstrap': ['', 'example.org', 'a b:1', '127.0.0.1:0', '/ip4/127.0.0.1/tcp/1/p2p/nobody', 'http://a:1'],
      '--announce': ['203.0.113.7', '203.0.113.7:0'],
      '--network': ['', 'Muster', 'a_b', 'x'.repeat(33), 'ä'],
      '--preset': ['', 'Private', 'lan'],
      '--http': ['', 'on', 'OFF', 'localhost:1', '8469', '/ip4/127.0.0.1/tcp/1/ws'],
      '--log-level': ['', 'loud', 'INFO'],
      '--data': ['', '  ', 'a\0b']
    }
    for (const [flag, texts] of Object.entries(ACCEPTED)) {
      it(`accepts good values of ${flag}`, () => {
        for (const text of texts) assert.ok(isAccepted(flag, text), JSON.stringify(text))
      })
    }
    for (const [flag, texts] of Object.entries(REFUSED)) {
      it(`refuses bad values of ${flag}`, () => {
        for (const text of texts) assert.ok(!isAccepted(flag, text), JSON.stringify(text))
      })
    }
  })
}

describe('what is particular', () => {
  it('puts a bootstrap on 8468 of all interfaces, with HTTP on loopback', () => {
    assert.equal(bootstrap.DEFAULTS.listen, '0.0.0.0:8468')
    assert.equal(bootstrap.DEFAULTS.http, '127.0.0.1:8469')
    assert.deepEqual(bootstrap.DEFAULTS.bootstrap, [])
  })

  it('lets a peer dial a bootstrap on the same machine and join global-chat', () => {
    const { values } = peer.commandLineFrom([], {})
    assert.deepEqual(values.bootstrap, ['127.0.0.1:8468'])
    assert.deepEqual(values.topic, ['global-chat'])
    assert.deepEqual([values.http, values.listen, values.roster], ['off', '0.0.0.0:0', true])
  })

  it('judges topics and names by their bytes in normal form', () => {
    const { values } = peer.commandLineFrom(
      ['--topic', 'Cafe\u0301', '--topic', 'Caf\u00e9', '--name', 'ä'.repeat(32)],
      {}
    )
    assert.deepEqual(values.topic, ['Caf\u00e9'])
    const bad = [
      ['--topic', 'ä'.repeat(129)],
      ['--topic', ''],
      ['--name', 'ä'.repeat(33)],
      ['--name', ' '],
      ['--name', 'a\u001b[2J']
    ]
    for (const argv of bad) assert.throws(() => peer.commandLineFrom(argv, {}), { code: 'options-invalid' })
  })

  it('takes sizes as numbers of bytes or with a unit, and refuses what is none', () => {
    const bytes = (text: string): number | undefined =>
      peer.commandLineFrom(['--compress-above', text], {}).values.compressAbove
    assert.deepEqual(['1', '65536', '1 KiB', '2mib', ' 3GiB '].map(bytes), [1, 65536, 1024, 2 ** 21, 3 * 2 ** 30])
    for (const text of ['', '0', '-1', '1.5', '1 MB', '1e6', 'MiB', '9'.repeat(16)]) {
      assert.throws(() => bytes(text), { code: 'options-invalid' }, text)
    }
    const inCode = (compressAbove: unknown): unknown =>
      checkOptions(peer.PEER_SETTINGS, { compressAbove } as object).compressAbove
    assert.equal(inCode(1024), 1024)
    for (const value of [0, -1, 1.5, Number.NaN, 2 ** 60, true]) {
      assert.throws(() => inCode(value), { code: 'options-invalid' }, String(value))
    }
    assert.throws(() => peer.commandLineFrom(['--max-message-bytes', '1 GiB'], {}), /raise the second/)
  })

  it('refuses --memory together with --data, but lets it overrule a container’s MUSTER_DATA', () => {
    assert.throws(() => peer.commandLineFrom(['--memory', '--data', 'x'], {}), /contradict/)
    assert.throws(() => checkOptions(peer.PEER_SETTINGS, { memory: true, data: 'x' }, { rules: peer.peerRules }))
    assert.equal(peer.commandLineFrom(['--memory'], { MUSTER_DATA: '/data' }).values.memory, true)
  })

  it('keeps the program’s own options out of the library', () => {
    assert.throws(() => checkOptions(bootstrap.BOOTSTRAP_SETTINGS, { json: true } as object), /json: there is no such/)
    assert.throws(() => checkOptions(peer.PEER_SETTINGS, { topic: ['a'] } as object), /topic: there is no such/)
  })
})
