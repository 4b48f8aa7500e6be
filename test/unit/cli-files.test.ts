import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { ByteStream, Group, Member } from '../../src/peer/api.ts'
import type { DiskSpace } from '../../src/peer/cli/file-folder.ts'
import {
  MAX_FILE_NAME_BYTES,
  MAX_FILE_SILENCE_MS,
  MAX_FILES_PER_MEMBER,
  MIN_FREE_DISK_BYTES,
  MIN_FREE_DISK_FILES
} from '../../src/peer/cli/file-limits.ts'
import { numberedName, safeFileName } from '../../src/peer/cli/file-name.ts'
import { ProgressBoard } from '../../src/peer/cli/file-progress.ts'
import { encodeFileMessage, FILE_STREAM, readFileAnswer, StreamReader } from '../../src/peer/cli/file-wire.ts'
import { Files } from '../../src/peer/cli/files.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { eventually } from '../support/eventually.ts'
import { LOBBY, type Streamer, StreamWorld } from '../support/stream-world.ts'
import { Record } from './cli-fakes.ts'

/** Ana and Ben in the lobby, each with a folder and a record of what was printed. */
class Desks extends Scope {
  readonly clock = new ManualClock()
  readonly world = this.own(new StreamWorld())
  #folder = ''

  static async open(): Promise<Desks> {
    const desks = new Desks()
    desks.#folder = await mkdtemp(join(tmpdir(), 'muster-files-'))
    desks.defer(() => rm(desks.#folder, { recursive: true, force: true }))
    return desks
  }

  async desk(name: string, options: { takes?: boolean; maxBytes?: number; diskSpace?: DiskSpace } = {}) {
    const { takes = true, diskSpace, ...limits } = options
    const streamer = await this.world.streamer()
    const record = new Record()
    const drawn: string[][] = []
    const board = new ProgressBoard(record, lines => void drawn.push([...lines]), this.clock)
    const folder = join(this.#folder, `${name}'s files`)
    const needs = { printer: record, board, clock: this.clock, ...(diskSpace === undefined ? {} : { diskSpace }) }
    const files = this.own(new Files(needs, { folder: takes ? folder : undefined, ...limits }))
    const group = groupOf(streamer)
    files.serve(group)
    const member: Member = { peerId: streamer.node.peerId, name, addresses: [], verified: true }
    return { streamer, record, drawn, folder, files, group, member }
  }

  async file(name: string, bytes: Uint8Array | string): Promise<string> {
    const path = join(this.#folder, name)
    await writeFile(path, bytes)
    return path
  }
}

/** As much of a group as files need. */
function groupOf({ streams }: Streamer): Group {
  return {
    topic: LOBBY.name,
    members: () => [],
    onStream: (name: string, handler: never) => streams.handle(LOBBY, name, handler),
    openStream: (to: string, name: string) => streams.open(LOBBY, to, name)
  } as unknown as Group
}

const content = Buffer.alloc(3_000_000, 'what is in the file')
const listed = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

describe('a file', () => {
  it('arrives whole, is told of at both ends, and overwrites nothing', async () => {
    await using desks = await Desks.open()
    const [ana, ben] = [await desks.desk('ana'), await desks.desk('ben')]
    const path = await desks.file('report.txt', content)
    for (const name of ['report.txt', 'report (2).txt', 'report (3).txt']) {
      await ana.files.send(ana.group, ben.member, path)
      const saved = join(ben.folder, name)
      assert.ok((await readFile(saved)).equals(content))
      const file = { event: 'file', topic: 'lobby', bytes: content.length }
      const self = ana.member.peerId
      const from = { peerId: self, member: undefined, name, path: saved, direction: 'in' }
      const to = { peerId: ben.member.peerId, member: 'ben', name: 'report.txt', path: undefined, direction: 'out' }
      assert.deepEqual(ben.record.all('file').at(-1), { ...file, ...from })
      assert.deepEqual(ana.record.all('file').at(-1), { ...file, ...to })
    }
    assert.equal((await listed(ben.folder)).length, 3)
  })

  it('may be empty', async () => {
    await using desks = await Desks.open()
    const [ana, ben] = [await desks.desk('ana'), await desks.desk('ben')]
    await ana.files.send(ana.group, ben.member, await desks.file('empty', ''))
    assert.deepEqual([await listed(ben.folder), await readFile(join(ben.folder, 'empty'), 'utf8')], [['empty'], ''])
  })

  it('shows a bar, and tells once a second how far it is', async () => {
    await using desks = await Desks.open()
    const [ana, ben] = [await desks.desk('ana'), await desks.desk('ben')]
    const board = new ProgressBoard(ana.record, lines => void ana.drawn.push([...lines]), desks.clock)
    const facts = { topic: 'lobby', peerId: ben.member.peerId, name: 'a\u001b[31m.bin', totalBytes: 1000 }
    const progress = board.start({ ...facts, direction: 'out' })
    for (let bytes = 0; bytes <= 1000; bytes += 100) {
      progress.report(bytes)
      desks.clock.advance(250)
    }
    progress.end()
    const told = ana.record.all('file-progress')
    assert.deepEqual(
      told.map(({ bytes }) => bytes),
      [400, 800]
    )
    assert.equal(ana.drawn.length, 12)
    assert.match(ana.drawn[5]?.[0] ?? '', /^↑ ━{10}─{10} {2}50 % of 1000 bytes, 400 bytes\/s a\\u\{1b\}\[31m\.bin$/)
    assert.deepEqual(ana.drawn.at(-1), [])
  })

  it('is refused where none are taken, and where it is too large; nothing is left', async () => {
    await using desks = await Desks.open()
    const ana = await desks.desk('ana')
    const path = await desks.file('report.txt', content)
    const deaf = await desks.desk('deaf', { takes: false })
    await assert.rejects(ana.files.send(ana.group, deaf.member, path), {
      code: 'no-handler',
      message: /takes no files/
    })
    const small = await desks.desk('small', { maxBytes: content.length - 1 })
    await assert.rejects(ana.files.send(ana.group, small.member, path), { code: 'too-large' })
    assert.match(small.record.error().message, /"report\.txt" from .* was not received: it has 3000000 bytes; at most/)
    assert.deepEqual(await listed(small.folder), [])
  })

  it('says so at both ends when the disk has no space for it', async () => {
    await using desks = await Desks.open()
    const [evil, ben] = [await desks.world.streamer(), await desks.desk('ben', { maxBytes: Number.MAX_SAFE_INTEGER })]
    const stream = await evil.open(ben.streamer, FILE_STREAM)
    await stream.write(encodeFileMessage({ name: 'huge', size: 2 ** 52 }))
    await assert.rejects(readFileAnswer(new StreamReader(stream)), { code: 'refused', message: /no space left/ })
    await eventually('it was printed', () => /no space left/.test(ben.record.error().message))
    assert.deepEqual(await listed(ben.folder), [])
  })

  it('is refused when those on their way need the space, until they are given up', async () => {
    await using desks = await Desks.open()
    const size = 1_000_000
    const left = { bavail: MIN_FREE_DISK_BYTES + 1.5 * size, bsize: 1, files: 0, ffree: 0 }
    const [evil, ben] = [await desks.world.streamer(), await desks.desk('ben', { diskSpace: async () => left })]
    const begin = async (): Promise<ByteStream> => {
      const stream = await evil.open(ben.streamer, FILE_STREAM)
      await stream.write(encodeFileMessage({ name: 'half', size }))
      return stream
    }
    const refused = async (stream: ByteStream): Promise<ByteStream> => {
      await assert.rejects(readFileAnswer(new StreamReader(stream)), { code: 'refused', message: /no space left/ })
      return stream
    }
    const both = await Promise.all([begin(), begin()])
    const turnedAway = await Promise.race(both.map(refused))
    await eventually('one was begun', async () => (await listed(ben.folder)).length === 1)
    await refused(await begin())
    for (const stream of both) if (stream !== turnedAway) stream.abort(new Error('enough'))
    await eventually('it is gone', async () => (await listed(ben.folder)).length === 0)
    await begin()
    await eventually('there is room again', async () => (await listed(ben.folder)).length === 1)
  })

  it('is refused when the disk takes hardly another file', async () => {
    await using desks = await Desks.open()
    const left = { bavail: 2 * MIN_FREE_DISK_BYTES, bsize: 1, files: 1_000_000, ffree: MIN_FREE_DISK_FILES - 1 }
    const [ana, ben] = [await desks.desk('ana'), await desks.desk('ben', { diskSpace: async () => left })]
    const sending = ana.files.send(ana.group, ben.member, await desks.file('report.txt', 'short'))
    await assert.rejects(sending, { code: 'refused', message: /no space left/ })
  })

  it('that a crash left behind is deleted, within the hour', async () => {
    await using desks = await Desks.open()
    const { folder } = await desks.desk('ben')
    const path = join(folder, '.muster-0123456789abcdef.part')
    await mkdir(folder)
    await writeFile(path, 'half of it')
    await utimes(path, 0, 0)
    desks.clock.advance(3_600_000)
    await eventually('it is gone', async () => (await listed(folder)).length === 0)
  })

  it('is given up when the other side falls silent', async () => {
    await using desks = await Desks.open()
    const [ana, rogue] = [await desks.desk('ana'), await desks.desk('rogue', { takes: false })]
    const taken = rogue.streamer.takes(FILE_STREAM)
    const sending = ana.files.send(ana.group, rogue.member, await desks.file('report.txt', 'unanswered'))
    const failed = assert.rejects(sending, { code: 'timed-out' })
    await eventually('it was taken', () => taken.length === 1)
    await desks.world.network.settle()
    desks.clock.advance(MAX_FILE_SILENCE_MS)
    await failed
  })

  it('says so at both ends when it cannot be saved', async () => {
    await using desks = await Desks.open()
    const [ana, ben] = [await desks.desk('ana'), await desks.desk('ben')]
    await writeFile(ben.folder, 'a file where the folder should be')
    const path = await desks.file('report.txt', content)
    await assert.rejects(ana.files.send(ana.group, ben.member, path), { code: 'refused', message: /could not save/ })
    await eventually('ben is told', () => assert.equal(ben.record.error().code, 'data-not-writable'))
  })

  it('that cannot be read is an error of the command', async () => {
    await using desks = await Desks.open()
    const [ana, ben] = [await desks.desk('ana'), await desks.desk('ben')]
    const missing = join(ben.folder, 'missing')
    await assert.rejects(ana.files.send(ana.group, ben.member, missing), { code: 'command-invalid', message: /ENOENT/ })
    await mkdir(ben.folder)
    await assert.rejects(ana.files.send(ana.group, ben.member, ben.folder), { code: 'command-invalid' })
  })
})

describe('a sender of files that misbehaves', () => {
  const digest = Buffer.alloc(32)
  const header = (name: string, size: number): Uint8Array => encodeFileMessage({ name, size })
  const wrong: { readonly [what: string]: readonly Uint8Array[] } = {
    'says nothing': [],
    'says no JSON': [Buffer.from([0, 0, 0, 1, 0x7b])],
    'says a message without end': [Buffer.from([0xff, 0xff, 0xff, 0xff])],
    'names no size': [header('a', undefined as never)],
    'names a negative size': [header('a', -1)],
    'ends early': [header('a', 10), Buffer.alloc(5)],
    'sends other bytes than it says': [header('a', 10), Buffer.alloc(10), digest],
    'sends more than it says': [header('a', 10), Buffer.alloc(100)]
  }
  for (const [what, said] of Object.entries(wrong)) {
    it(`and ${what} leaves nothing behind`, async () => {
      await using desks = await Desks.open()
      const [evil, ben] = [await desks.world.streamer(), await desks.desk('ben')]
      const stream = await evil.open(ben.streamer, FILE_STREAM)
      for (const bytes of said) await stream.write(bytes).catch(() => undefined)
      await stream.end().catch(() => undefined)
      await eventually('the stream is gone', () => stream.signal.aborted)
      await eventually('it was printed', () => ben.record.error().code === 'protocol-violation')
      assert.deepEqual(await listed(ben.folder), [])
    })
  }

  it('and breaks off half-way, or falls silent, leaves nothing behind', async () => {
    await using desks = await Desks.open()
    const [evil, ben] = [await desks.world.streamer(), await desks.desk('ben')]
    for (const end of [(stream: { abort(): void }) => stream.abort(), () => desks.clock.advance(MAX_FILE_SILENCE_MS)]) {
      const stream = await evil.open(ben.streamer, FILE_STREAM)
      await stream.write(header('half.bin', 1000))
      await stream.write(Buffer.alloc(500))
      await eventually('it is being written', async () => (await listed(ben.folder)).length === 1)
      await desks.world.network.settle()
      end(stream)
      await eventually('it is gone', async () => (await listed(ben.folder)).length === 0)
    }
    assert.deepEqual(
      ben.record.all('error').map(({ code }) => code),
      ['closed', 'timed-out']
    )
  })

  it('and begins more files than it may is refused those', async () => {
    await using desks = await Desks.open()
    const [evil, ben] = [await desks.world.streamer(), await desks.desk('ben')]
    const begin = async () => {
      const stream = await evil.open(ben.streamer, FILE_STREAM)
      await stream.write(header('a', 1000))
      return stream
    }
    for (let count = 0; count < MAX_FILES_PER_MEMBER; count++) await begin()
    await eventually('they are being written', async () => (await listed(ben.folder)).length === MAX_FILES_PER_MEMBER)
    const more = await begin()
    await assert.rejects(readFileAnswer(new StreamReader(more)), { code: 'limit-reached' })
    await ben.files.close()
    assert.deepEqual(await listed(ben.folder), [])
  })
})

describe('the name of a file', () => {
  const names: ReadonlyArray<readonly [given: string, kept: string]> = [
    ['report.txt', 'report.txt'],
    ['../../etc/passwd', 'passwd'],
    ['C:\\Windows\\system.ini', 'system.ini'],
    ['..', 'file'],
    ['', 'file'],
    ['.bashrc', 'bashrc'],
    ['a\u0000b\nc\u202Etxt.exe', 'a_b_c_txt.exe'],
    ['con', '_con'],
    ['NUL.txt', '_NUL.txt'],
    ['COM1.tar.gz', '_COM1.tar.gz'],
    ['console.txt', 'console.txt'],
    ['what? <this>|"that"*:', 'what_ _this___that___'],
    ['ends with dots. . ', 'ends with dots'],
    ['Übergröße 🎈.png', 'Übergröße 🎈.png']
  ]
  for (const [given, kept] of names) {
    it(`${JSON.stringify(given)} becomes ${JSON.stringify(kept)}`, () => assert.equal(safeFileName(given), kept))
  }

  it('is safe and short whatever is given, and keeps its extension', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), given => {
        const kept = safeFileName(given)
        assert.ok(kept !== '' && Buffer.byteLength(kept) <= MAX_FILE_NAME_BYTES)
        assert.doesNotMatch(kept, /[/\\\p{Cc}]|^\.|^\s|[.\s]$/u)
        assert.equal(safeFileName(kept), kept)
      }),
      { numRuns: 2000 }
    )
    assert.match(safeFileName(`${'ä'.repeat(300)}.tar.gz`), /^ä+\.tar\.gz$/)
  })

  it('is numbered before its extension', () => {
    assert.equal(numberedName('a.tar.gz', 2), 'a (2).tar.gz')
    assert.equal(numberedName('README', 12), 'README (12)')
  })
})
