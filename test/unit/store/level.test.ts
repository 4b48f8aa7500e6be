import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Datastore, Key } from 'interface-datastore'
import type { Log } from '../../../src/shared/core/log.ts'
import { silentLog } from '../../../src/shared/core/log.ts'
import { openStore } from '../../../src/shared/store/level.server.ts'
import { startProcess, temporaryFolder } from './folders.ts'

const ROWS = 300
const keyOf = (name: string, i: number): Key => new Key(`/dht/${name}/${i}`)
const bytesOf = (i: number): Uint8Array => new Uint8Array(200).map((_, at) => (i * 31 + at * 7) & 0xff)

async function fill(datastore: Datastore, name: string): Promise<void> {
  await Promise.all(Array.from({ length: ROWS }, (_, i) => datastore.put(keyOf(name, i), bytesOf(i))))
}

async function countRows(datastore: Datastore): Promise<number> {
  let count = 0
  for await (const { key, value } of datastore.query({ prefix: '/dht/' })) {
    assert.deepEqual(new Uint8Array(value), bytesOf(Number(key.baseNamespace())))
    count++
  }
  return count
}

async function files(path: string, pattern: RegExp): Promise<string[]> {
  const level = join(path, 'level')
  return (await readdir(level)).filter(name => pattern.test(name)).map(name => join(level, name))
}

async function one(path: string, pattern: RegExp): Promise<string> {
  const found = await files(path, pattern)
  assert.equal(found.length, 1, `${pattern}: ${found.join(', ')}`)
  return found[0]!
}

async function flip(file: string, at: number): Promise<void> {
  const bytes = await readFile(file)
  bytes[at < 0 ? bytes.length + at : at]! ^= 0x10
  await writeFile(file, bytes)
}

const sizeOf = async (file: string): Promise<number> => (await stat(file)).size
const names = async (path: string): Promise<string[]> => (await readdir(join(path, 'level'))).sort()

/** What belongs to LevelDB's own diary is no data and changes with each attempt. */
async function contents(path: string): Promise<Map<string, string>> {
  const all = new Map<string, string>()
  for (const name of await names(path)) {
    if (!/^LO(G|CK)/.test(name)) all.set(name, (await readFile(join(path, 'level', name))).toString('base64'))
  }
  return all
}

describe('openStore', { timeout: 120_000 }, () => {
  it('keeps rows from one run to the next', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'data')
    {
      await using store = await openStore(path)
      assert.equal(store.path, path)
      await fill(store.datastore, 'a')
      await store.datastore.put(new Key('/peers/x'), Uint8Array.of(1))
      assert.ok((await store.bytes()) > ROWS * 200)
    }
    if (process.platform !== 'win32') assert.equal((await stat(path)).mode & 0o777, 0o700)
    await using again = await openStore(path)
    assert.equal(await countRows(again.datastore), ROWS)
    assert.deepEqual(new Uint8Array(await again.datastore.get(new Key('/peers/x'))), Uint8Array.of(1))
    await assert.rejects(async () => await again.datastore.get(new Key('/none')), { name: 'NotFoundError' })
  })

  it('applies writes in the order of the calls, batches and deletions among them', async () => {
    await using folder = await temporaryFolder()
    const key = new Key('/dht/x')
    {
      await using store = await openStore(folder.path)
      const batch = store.datastore.batch()
      batch.put(key, Uint8Array.of(3))
      batch.put(new Key('/dht/y'), Uint8Array.of(4))
      const writes = [
        store.datastore.put(key, Uint8Array.of(1)),
        store.datastore.delete(key),
        store.datastore.put(key, Uint8Array.of(2)),
        batch.commit(),
        store.datastore.delete(new Key('/dht/y'))
      ]
      await Promise.all(writes)
    }
    await using again = await openStore(folder.path)
    assert.deepEqual(new Uint8Array(await again.datastore.get(key)), Uint8Array.of(3))
    assert.equal(await again.datastore.has(new Key('/dht/y')), false)
  })

  it('writes what is under way before it closes, then refuses', async () => {
    await using folder = await temporaryFolder()
    const store = await openStore(folder.path)
    const filled = fill(store.datastore, 'a')
    await Promise.all([filled, store.close(), store.close()])
    assert.ok(store.signal.aborted)
    await assert.rejects(async () => await store.datastore.put(keyOf('a', 0), bytesOf(0)))
    await using again = await openStore(folder.path)
    assert.equal(await countRows(again.datastore), ROWS)
  })

  it('refuses a folder in use, here and in another process', async () => {
    await using folder = await temporaryFolder()
    await using _store = await openStore(folder.path)
    await assert.rejects(openStore(folder.path), { code: 'data-locked', message: new RegExp(`${process.pid}`) })
    await using other = startProcess(
      `const { openStore } = await here('level.server.ts')
      console.log(await openStore(process.argv[1]).then(() => 'opened', error => error.code))
      process.exit()`,
      folder.path
    )
    assert.equal(await other.line(), 'data-locked')
  })

  it('releases the lock when opening fails half-way', async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'level'))
    await writeFile(join(folder.path, 'level', 'CURRENT'), '')
    await assert.rejects(openStore(folder.path), { code: 'data-corrupt' })
    await rm(join(folder.path, 'level'), { recursive: true })
    await using _store = await openStore(folder.path)
  })

  it('has every acknowledged write after kill -9', async () => {
    await using folder = await temporaryFolder()
    for (let round = 0; round < 3; round++) {
      await using writer = startProcess(
        `const { openStore } = await here('level.server.ts')
        const { Key } = await import('interface-datastore')
        const store = await openStore(process.argv[1])
        for (let i = 0; ; i++) {
          await Promise.all([1, 2, 3].map(j => store.datastore.put(new Key('/dht/' + process.argv[2] + j + '/' + i), new Uint8Array(300).fill(i))))
          process.stdout.write(i + '\\n')
        }`,
        folder.path,
        `r${round}`
      )
      let last = -1
      while (last < 40 + round * 25) last = Number(await writer.line())
      await writer.kill()
      await using store = await openStore(folder.path)
      for (let i = 0; i <= last; i++) {
        for (const j of [1, 2, 3])
          assert.ok(await store.datastore.has(new Key(`/dht/r${round}${j}/${i}`)), `${round} ${i}`)
      }
    }
  })
})

describe('a damaged database', { timeout: 120_000 }, () => {
  let template: Awaited<ReturnType<typeof temporaryFolder>>
  let closed: string

  /** Rows in a table and, newer, rows in a log of several blocks. */
  before(async () => {
    template = await temporaryFolder()
    closed = join(template.path, 'data')
    for (const name of ['a', 'b']) {
      await using store = await openStore(closed)
      await fill(store.datastore, name)
    }
  })
  after(() => template[Symbol.asyncDispose]())

  const TABLE = /\.ldb$/
  const LOG = /^\d+\.log$/
  const MANIFEST = /^MANIFEST-/
  const CURRENT = /^CURRENT$/

  const DAMAGES: Record<string, (path: string) => Promise<void>> = {
    'CURRENT missing': async path => rm(await one(path, CURRENT)),
    'CURRENT empty': async path => truncate(await one(path, CURRENT)),
    'CURRENT without its line break': async path => truncate(await one(path, CURRENT), 10),
    'CURRENT with garbage': async path => writeFile(await one(path, CURRENT), '../../etc/passwd\n'),
    'CURRENT pointing nowhere': async path => writeFile(await one(path, CURRENT), 'MANIFEST-999999\n'),
    'MANIFEST missing': async path => rm(await one(path, MANIFEST)),
    'MANIFEST empty': async path => truncate(await one(path, MANIFEST)),
    'MANIFEST cut in half': async path => {
      const file = await one(path, MANIFEST)
      await truncate(file, (await sizeOf(file)) >> 1)
    },
    'MANIFEST without its last byte': async path => {
      const file = await one(path, MANIFEST)
      await truncate(file, (await sizeOf(file)) - 1)
    },
    'MANIFEST with a flipped bit at the start': async path => flip(await one(path, MANIFEST), 9),
    'MANIFEST with a flipped bit at the end': async path => flip(await one(path, MANIFEST), -3),
    'MANIFEST overwritten with garbage': async path => writeFile(await one(path, MANIFEST), 'garbage '.repeat(50)),
    'a log missing': async path => rm(await one(path, LOG)),
    'a log with a flipped bit in the first record': async path => flip(await one(path, LOG), 50),
    'a log with a flipped bit in a length': async path => flip(await one(path, LOG), 5),
    'a log with a flipped bit in the middle': async path => {
      const file = await one(path, LOG)
      await flip(file, (await sizeOf(file)) >> 1)
    },
    'a table missing': async path => rm((await files(path, TABLE))[0]!),
    'a table empty': async path => truncate((await files(path, TABLE))[0]!),
    'a table cut short': async path => {
      const [file] = await files(path, TABLE)
      await truncate(file!, (await sizeOf(file!)) - 100)
    },
    'a table with a flipped bit in its rows': async path => flip((await files(path, TABLE))[0]!, 500),
    'a table with a flipped bit in its middle': async path => {
      const [file] = await files(path, TABLE)
      await flip(file!, (await sizeOf(file!)) >> 1)
    },
    'a table with a flipped bit in its index': async path => flip((await files(path, TABLE))[0]!, -60),
    'a table with a flipped bit in its footer': async path => flip((await files(path, TABLE))[0]!, -1),
    'a table overwritten with garbage of the same size': async path => {
      const [file] = await files(path, TABLE)
      await writeFile(file!, Buffer.alloc(await sizeOf(file!), 'garbage '))
    }
  }

  for (const [what, damage] of Object.entries(DAMAGES)) {
    it(`${what}: refused, says what to do, changes nothing`, async () => {
      await using folder = await temporaryFolder()
      const path = join(folder.path, 'data')
      await cp(closed, path, { recursive: true })
      await damage(path)
      const found = await contents(path)
      await assert.rejects(openStore(path), { code: 'data-corrupt', message: /is damaged \(.+\).*move it aside/ })
      assert.deepEqual(await contents(path), found)
      await rename(join(path, 'level'), join(path, 'level.damaged'))
      await using fresh = await openStore(path)
      assert.equal(await countRows(fresh.datastore), 0)
    })
  }

  it('finds any single flipped bit in a table, save in the padding of its footer', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'data')
    await cp(closed, path, { recursive: true })
    const [file] = await files(path, TABLE)
    const size = await sizeOf(file!)
    for (let at = 3; at < size - 48; at += Math.floor(size / 60)) {
      await flip(file!, at)
      await assert.rejects(openStore(path), { code: 'data-corrupt' }, `byte ${at} of ${size}`)
      await flip(file!, at)
    }
    await using sound = await openStore(path)
    assert.equal(await countRows(sound.datastore), 2 * ROWS)
  })

  const CRASHES: Record<string, (file: string, size: number) => Promise<unknown>> = {
    'cut in the middle of a record': (file, size) => truncate(file, size - 77),
    'cut in the middle of a header': (file, size) => truncate(file, size - 210),
    'cut to nothing': file => truncate(file, 0),
    'cut in the middle of the file': (file, size) => truncate(file, (size >> 1) + 1),
    'followed by zeros': (file, size) => truncate(file, size + 5000),
    'ending in half-written garbage': async (file, size) =>
      writeFile(file, Buffer.concat([(await readFile(file)).subarray(0, size - 50), Buffer.alloc(30, 0xa5)])),
    'with a page that never reached the disk': async file => {
      const bytes = await readFile(file)
      await writeFile(file, bytes.fill(0, 8192, 12_288))
    }
  }

  for (const [what, crash] of Object.entries(CRASHES)) {
    it(`a log ${what}: a crash, no damage; the rows before it are there`, async () => {
      await using folder = await temporaryFolder()
      const path = join(folder.path, 'data')
      await cp(closed, path, { recursive: true })
      const file = await one(path, LOG)
      await crash(file, await sizeOf(file))
      const warnings: string[] = []
      const log: Log = { ...silentLog, warn: (_, event) => warnings.push(event) }
      await using store = await openStore(path, { log })
      const rows = await countRows(store.datastore)
      assert.ok(rows >= ROWS && rows <= 2 * ROWS, `${rows} rows`)
    })
  }

  it('a birth that was cut short is born again', async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'level'))
    await writeFile(join(folder.path, 'level', 'MANIFEST-000001'), 'half')
    await using store = await openStore(folder.path)
    await fill(store.datastore, 'a')
  })

  it('leftovers of an unfinished compaction are no damage', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'data')
    await cp(closed, path, { recursive: true })
    await writeFile(join(path, 'level', '000099.ldb'), 'half a table')
    await writeFile(join(path, 'level', '000098.dbtmp'), 'MANIF')
    await using store = await openStore(path)
    assert.equal(await countRows(store.datastore), 2 * ROWS)
  })

  it('is told apart from a folder that is not writable', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'level'), 'a file where a folder should be')
    await assert.rejects(openStore(folder.path), { code: 'data-not-writable' })
  })
})
