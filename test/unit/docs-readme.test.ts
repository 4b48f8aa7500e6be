import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { BOOTSTRAP_OPTIONS } from '../../src/bootstrap/options.ts'
import { COMMANDS } from '../../src/peer/cli/commands.ts'
import type { CliEvent, CliEventName } from '../../src/peer/cli/events.ts'
import { EXIT } from '../../src/peer/cli/once.ts'
import { jsonPrinter } from '../../src/peer/cli/printer.ts'
import {
  archiveSyntax,
  type CommandSyntax,
  DELETE,
  EXIT_MEANINGS,
  GET,
  LIST,
  PEER_ARCHIVE_OPTIONS,
  PUT,
  parseSyntax,
  WATCH
} from '../../src/peer/cli/record-options.ts'
import { PEER_COMMANDS, PEER_OPTIONS } from '../../src/peer/options.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { optionsTable } from '../../src/shared/core/command-line.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import type { OptionTable } from '../../src/shared/core/options.ts'
import { statusPages } from '../../src/shared/status/answers.ts'
import type { Status } from '../../src/shared/status/status.ts'
import { readPage } from '../support/page.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const readme = readPage('README.md')
const topic = 'lobby'
const member = { peerId: '12D3KooWana', name: 'ana', addresses: [], verified: true }
const at = '2026-11-25T00:00:00.000Z'
const version = { key: 'colour', author: '12D3KooWana', sequence: 1, issuedAt: at, expiresAt: at }

/** One of each, for the names of the fields. */
const EVENTS: Record<CliEventName, readonly CliEvent[]> = {
  listening: [
    { event: 'listening', role: 'peer', peerId: '12D3KooWben', addresses: [], http: undefined },
    { event: 'listening', role: 'peer', peerId: '12D3KooWben', addresses: [], http: 'http://127.0.0.1:8469' }
  ],
  ready: [{ event: 'ready' }],
  joined: [{ event: 'joined', topic }],
  member: [{ event: 'member', topic, ...member }],
  left: [{ event: 'left', topic, ...member, reason: 'goodbye' }],
  message: [
    { event: 'message', topic, from: member.peerId, name: undefined, id: '1', value: 'hello', via: 'direct' },
    {
      ...{ event: 'message', topic, from: member.peerId, name: undefined, id: '1', value: Uint8Array.of(1) },
      ...{ via: 'history', sentAt: '2026-11-25T00:00:00.000Z', question: 1 }
    }
  ],
  sent: [{ event: 'sent', topic, to: member.peerId, name: 'ana', id: '1', rttMs: 1 }],
  'file-progress': [
    { event: 'file-progress', topic, peerId: member.peerId, name: 'a.txt', bytes: 1, totalBytes: 2, direction: 'in' }
  ],
  file: (['/files/a.txt', undefined] as const).map(path => ({
    event: 'file',
    topic,
    peerId: member.peerId,
    member: 'ana',
    name: 'a.txt',
    bytes: 2,
    path,
    direction: path === undefined ? 'out' : 'in'
  })),
  error: [{ event: 'error', code: 'refused', message: 'no' }],
  said: [{ event: 'said', topic, id: '1', received: 1, members: 1 }],
  answer: [
    { event: 'answer', topic, from: member.peerId, name: undefined, id: '1', value: 'hello' },
    { event: 'answer', topic, from: member.peerId, name: undefined, id: '1', value: Uint8Array.of(1) }
  ],
  answered: [{ event: 'answered', topic, to: member.peerId, name: 'ana', question: 1 }],
  history: [{ event: 'history', topic, messages: 1 }],
  topic: [{ event: 'topic', topic }],
  members: [{ event: 'members', topic, members: [member] }],
  connected: [{ event: 'connected', peerId: member.peerId }],
  disconnected: [{ event: 'disconnected', address: '127.0.0.1:8468' }],
  status: [{ event: 'status', status: {} as Status }],
  help: [{ event: 'help', commands: [] }],
  record: [
    { event: 'record', ...version, value: 1, holders: 1, answers: 1 },
    { event: 'record', ...version, value: Uint8Array.of(1) },
    { event: 'record', ...version, value: undefined }
  ],
  'no-record': [{ event: 'no-record', key: 'colour' }],
  stored: [{ event: 'stored', ...version, stored: 3, isQuorum: true }],
  deleted: [{ event: 'deleted', ...version, stored: 3, isQuorum: true }],
  'own-record': [
    { event: 'own-record', ...version, value: 1, stored: 3, renew: false },
    { event: 'own-record', ...version, value: Uint8Array.of(1), stored: 3, renew: false }
  ],
  records: [{ event: 'records', records: 1 }],
  watching: [{ event: 'watching', key: 'colour' }],
  unwatched: [{ event: 'unwatched', key: 'colour' }],
  imported: [{ event: 'imported', taken: 1, older: 1, refused: 1 }],
  hint: [{ event: 'hint', text: 'for people' }]
}

/** Fields of an event's JSON lines as the page writes them: those that are not in each line in brackets. */
function fieldsOf(events: readonly CliEvent[]): string[] {
  const lines: string[] = []
  const printer = jsonPrinter(line => void lines.push(line), new ManualClock())
  for (const event of events) printer.print(event)
  const keys = lines.map(line => Object.keys(JSON.parse(line) as object))
  const all = [...new Set(keys.flat())].filter(key => key !== 'event' && key !== 'at')
  return all.map(key => (keys.every(each => each.includes(key)) ? key : `[${key}]`))
}

describe('README', () => {
  it('opens with the two commands, which exist', () => {
    const [commands = ''] = readme.blocks('sh')
    assert.ok(readme.text.indexOf(commands) < readme.text.indexOf('\n## '))
    assert.match(readme.text, /^# Muster\n\n```sh\n/)
    const lines = commands
      .trim()
      .split('\n')
      .map(line => line.replace(/\s+#.*/, ''))
    assert.deepEqual(lines, ['npm ci && npm run bootstrap', 'npm test'])
    const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { scripts: Record<string, string> }
    for (const [, script = ''] of readme.text.matchAll(/npm run ([\w-]+)/g)) assert.ok(script in scripts, script)
  })

  const programs: Array<[string, OptionTable]> = [
    ['npm run bootstrap -- …', BOOTSTRAP_OPTIONS],
    ['npm run peer -- …', PEER_OPTIONS]
  ]
  for (const [heading, table] of programs) {
    it(`has the flags of ${heading}`, () => {
      assert.deepEqual(
        readme
          .section(heading)
          .table()
          .map(row => row.map(cell => cell.replace(/^–$/, ''))),
        optionsTable(table).map(({ flag, env, default: value, help }) => [flag, env, value, help])
      )
    })
  }

  it('has the commands of the console', () => {
    assert.deepEqual(
      readme.section('Console').table(),
      COMMANDS.map(({ usage, help }) => [usage, help])
    )
  })

  it('has the commands for records, and their exit codes', () => {
    const archive = (['export', 'import'] as const).map(word => archiveSyntax(word, PEER_ARCHIVE_OPTIONS))
    const all = [PUT, GET, DELETE, WATCH, LIST, ...archive]
    assert.deepEqual(
      all.map(({ usage }) => usage.split(' ')[0]),
      PEER_COMMANDS
    )
    const section = readme.section('Records')
    assert.deepEqual(
      section.table(),
      all.map(({ usage, summary }) => [usage, summary])
    )
    const meanings = EXIT_MEANINGS.map((meaning, code) => [String(code), meaning])
    assert.deepEqual(section.section('Exit codes').table(), meanings)
    assert.deepEqual(Object.values(EXIT), [...EXIT_MEANINGS.keys()])
    const [examples = ''] = section.blocks('sh')
    for (const [, words = ''] of examples.matchAll(/npm run peer -- (\w+ .*)/g)) {
      const argv = words.match(/'[^']*'|\S+/g)?.map(word => word.replaceAll("'", '')) ?? []
      const syntax = argv[0] === 'put' ? PUT : GET
      assert.doesNotThrow(() => parseSyntax(syntax as unknown as CommandSyntax<OptionTable>, argv.slice(1), {}))
    }
  })

  it('has every JSON line with its fields', () => {
    const { hint, ...printed } = EVENTS
    assert.deepEqual(fieldsOf(hint), [])
    const written = readme
      .section('JSON lines')
      .table()
      .map(([event = '', fields = '']) => [event, fields.replaceAll('`', '')])
    assert.deepEqual(
      written,
      Object.entries(printed).map(([event, examples]) => [event, fieldsOf(examples).join(', ') || '–'])
    )
  })

  it('has the paths that HTTP serves', () => {
    const source = { status: async () => ({}) as Status, health: async () => ({ ok: true }), metrics: async () => '' }
    const conditions = { signal: new AbortController().signal, deadlineMs: 1, clock: new ManualClock(), log: silentLog }
    const paths = readme
      .section('HTTP')
      .table()
      .map(([path = '']) => path)
    assert.deepEqual(paths, [...statusPages(source, conditions).keys()])
  })
})

describe('the documentation', () => {
  const pages = globSync(['*.md', 'docs/**/*.md', 'bench/*.md'], { cwd: root }).map(path => path.replaceAll('\\', '/'))

  it('links to files and headings that exist', () => {
    assert.ok(pages.length > 8)
    for (const path of pages) {
      for (const [, link = ''] of readPage(path).text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(link)) continue
        const [file = '', anchor] = link.split('#')
        const target = file === '' ? path : normalize(join(dirname(path), file)).replaceAll('\\', '/')
        assert.ok(existsSync(join(root, target)), `${path} links to ${link}`)
        if (anchor !== undefined) assert.ok(anchorsOf(target).includes(anchor), `${path} links to ${link}`)
      }
    }
  })

  it('names source files that exist', () => {
    for (const path of pages) {
      for (const [, file = ''] of readPage(path).text.matchAll(/`((?:src|test|bench|docs|examples|ops)\/[\w./-]+)`/g)) {
        assert.ok(existsSync(join(root, file)), `${path} names ${file}`)
      }
    }
  })

  it('is named by the code where it exists', () => {
    for (const path of globSync(['src/**/*.ts', '*.ts', 'Dockerfile', 'docker-compose.yml'], { cwd: root })) {
      for (const [file] of readFileSync(join(root, path), 'utf8').matchAll(/\bdocs\/[\w/-]+(\.md|\/\d{4})\b/g)) {
        const exists = file.endsWith('.md')
          ? existsSync(join(root, file))
          : globSync(`${file}-*.md`, { cwd: root }).length === 1
        assert.ok(exists, `${path} names ${file}`)
      }
    }
  })

  it('has vectors and protocols of each .proto file', () => {
    for (const proto of globSync('docs/protocols/*.proto', { cwd: root })) {
      const page = readPage(proto.replaceAll('\\', '/').replace(/proto$/, 'md'))
      assert.ok(page.section('Test vectors').table().length > 5, proto)
      assert.ok(page.blocks('mermaid').length > 0, proto)
    }
  })
})

/** As GitHub makes them of headings. */
function anchorsOf(path: string): string[] {
  const page = readPage(path)
  return [1, 2, 3, 4].flatMap(level =>
    page.headings(level).map(({ title }) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-')
    )
  )
}
