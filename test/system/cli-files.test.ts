import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { test } from 'node:test'
import { CommandLines, metEachOther, peerIdOf } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import type { Program } from '../support/process.ts'

const options = { timeout: 180_000 }
/** Far more than what two sockets and their streams hold at once; sparse on disk. */
const LARGE_BYTES = 192 * 1024 * 1024

interface Friends extends AsyncDisposable {
  readonly lines: CommandLines
  readonly ana: Program
  readonly ben: Program
}

async function friends(benArgs: (lines: CommandLines) => readonly string[]): Promise<Friends> {
  const lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const ana = lines.peer(['--bootstrap', address, '--memory', '--name', 'ana'])
  const ben = lines.peer(['--bootstrap', address, '--name', 'ben', ...benArgs(lines)])
  await metEachOther(ana, ben)
  return { lines, ana, ben, [Symbol.asyncDispose]: () => lines[Symbol.asyncDispose]() }
}

test(
  '/send-file puts a file into the data folder of the other side, beside one of the same name',
  options,
  async () => {
    await using all = await friends(({ folder }) => ['--data', folder.at('ben')])
    const { lines, ana, ben } = all
    const path = lines.folder.at('a report.txt')
    const content = Buffer.alloc(5_000_000, 'worth reading. ')
    await writeFile(path, content)
    const self = await peerIdOf(ana)
    for (const name of ['a report.txt', 'a report (2).txt']) {
      ana.type(`/send-file ben ${path}`)
      const { path: saved, bytes, peerId, topic } = await ben.event('file', event => event.name === name)
      assert.deepEqual([saved, bytes, peerId], [lines.folder.at('ben', 'files', name), content.length, self])
      assert.equal(topic, 'global-chat')
      assert.ok((await readFile(String(saved))).equals(content))
    }
    await ana.until('both receipts', () => ana.events.filter(({ event }) => event === 'file').length === 2 || undefined)
    const receipt = await ana.event('file')
    assert.deepEqual([receipt.name, receipt.bytes, receipt.direction], ['a report.txt', content.length, 'out'])
    assert.ok(!('path' in receipt))
    ana.type(`/send-file ben ${lines.folder.at('nothing')}`)
    const { code } = await ana.event('error')
    assert.equal(code, 'command-invalid')
    assert.deepEqual((await readdir(lines.folder.at('ben', 'files'))).sort(), ['a report (2).txt', 'a report.txt'])
  }
)

test('a large file tells how far it is, at both ends, and arrives whole', options, async () => {
  await using all = await friends(({ folder }) => ['--memory', '--files', folder.at('from friends')])
  const { lines, ana, ben } = all
  const path = await sparse(lines)
  ana.type(`/send-file ben "${path}"`)
  const { path: saved, bytes } = await ben.event('file')
  assert.equal(bytes, LARGE_BYTES)
  assert.equal(await digestOf(String(saved)), await digestOf(path))
  await ana.event('file')
  for (const [program, direction] of [
    [ana, 'out'],
    [ben, 'in']
  ] as const) {
    const told = program.events.filter(({ event }) => event === 'file-progress')
    for (const event of told) {
      assert.deepEqual([event.name, event.totalBytes, event.direction], ['large.bin', LARGE_BYTES, direction])
    }
    const times = told.map(({ at }) => Date.parse(at))
    assert.ok(
      times.every((time, at) => at === 0 || time - (times[at - 1] ?? 0) >= 950),
      times.join()
    )
  }
})

test('a transfer that is cut leaves nothing behind, and both sides say so', options, async () => {
  await using all = await friends(keepsFiles)
  const { lines, ana, ben } = all
  const folder = lines.folder.at('files')
  const path = await sparse(lines)
  ana.type(`/send-file ben ${path}`)
  await eventually('it is being written', async () => (await sizesIn(folder)).some(size => size > 1_000_000))
  ana.signal('SIGKILL')
  const { code, message } = await ben.event('error')
  assert.equal(code, 'closed')
  assert.match(String(message), /"large\.bin" from …\w{6} was not received/)
  assert.deepEqual(await readdir(folder), [])
})

test('a receiver that stops half-way leaves nothing behind, and the sender hears of it', options, async () => {
  await using all = await friends(keepsFiles)
  const { lines, ana, ben } = all
  const folder = lines.folder.at('files')
  const path = await sparse(lines)
  ana.type(`/send-file ben ${path}`)
  await eventually('it is being written', async () => (await sizesIn(folder)).some(size => size > 1_000_000))
  assert.deepEqual(await ben.stop(), { code: 0, signal: null })
  assert.deepEqual(await readdir(folder), [])
  const { code, message } = await ana.event('error')
  assert.match(String(code), /^(closed|gone)$/)
  assert.match(String(message), /large\.bin" was not received by …\w{6}/)
})

test('with --memory and no --files none are taken', options, async () => {
  await using all = await friends(() => ['--memory'])
  const { lines, ana } = all
  const path = lines.folder.at('a.txt')
  await writeFile(path, 'a')
  ana.type(`/send-file ben ${path}`)
  const { code, message } = await ana.event('error')
  assert.equal(code, 'no-handler')
  assert.match(String(message), /takes no files/)
})

const keepsFiles = ({ folder }: CommandLines): readonly string[] => ['--memory', '--files', folder.at('files')]

async function sparse(lines: CommandLines): Promise<string> {
  const path = lines.folder.at('large.bin')
  await writeFile(path, 'begins with this')
  await truncate(path, LARGE_BYTES)
  return path
}

async function sizesIn(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => [])
  return await Promise.all(names.map(async name => (await stat(`${folder}/${name}`)).size))
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
