import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, cp, mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { CommandLines, contentOf, refuses } from '../support/cli.ts'
import { startBootstrap, startPeer } from '../support/process.ts'

const options = { timeout: 120_000 }

suite('a command line that is wrong', () => {
  const wrong: ReadonlyArray<readonly [string, 'bootstrap' | 'peer' | 'both', readonly string[], readonly RegExp[]]> = [
    ['an unknown flag', 'both', ['--bootsrap', '127.0.0.1:8468'], [/--bootsrap: .*did you mean --bootstrap\?/]],
    [
      'a bad address',
      'both',
      ['--bootstrap', '127.0.0.1'],
      [/--bootstrap: received "127\.0\.0\.1", expected host:port/]
    ],
    ['a port that is none', 'both', ['--listen', '127.0.0.1:99999'], [/--listen: received "127\.0\.0\.1:99999"/]],
    ['a flag without its value', 'both', ['--data'], [/--data: received nothing, expected the path of a folder/]],
    ['a word that is no flag', 'both', ['lobby'], [/"lobby": expected a flag/]],
    ['an empty topic', 'peer', ['--topic', ''], [/--topic: received "", expected a topic name of 1 to 256 bytes/]],
    ['a topic too long', 'peer', ['--topic', 'x'.repeat(257)], [/--topic: .*257 bytes/]],
    ['a contradiction', 'peer', ['--memory', '--data', 'x'], [/--memory and --data contradict each other/]],
    [
      'several at once',
      'peer',
      ['--bootstrap', 'nowhere', '--topic', '', '--preset', 'purple', '--nick', 'ana'],
      [
        /--bootstrap: received "nowhere"/,
        /--topic: received ""/,
        /--preset: received "purple"/,
        /--nick: there is no such flag/
      ]
    ]
  ]
  for (const [what, role, args, says] of wrong) {
    test(`${what} is named, with exit code 2`, options, async () => {
      for (const start of role === 'both'
        ? [startBootstrap, startPeer]
        : [role === 'peer' ? startPeer : startBootstrap]) {
        await using json = start(['--json', ...args])
        await using plain = start(args)
        await refuses(json, { code: 'options-invalid', exitCode: 2, says })
        assert.equal((await plain.ends()).code, 2)
        assert.equal(plain.stdout, '', 'errors go to standard error')
        assert.equal(plain.stderr, json.stderr)
      }
    })
  }

  test('is named by its variable when it came from the environment', options, async () => {
    const env = { MUSTER_BOOTSTRAP: '127.0.0.1:8468,nowhere', MUSTER_JSON: 'perhaps' }
    await using program = startPeer(['--json=true'], { env })
    const says = [/MUSTER_BOOTSTRAP: received "nowhere"/]
    await refuses(program, { code: 'options-invalid', exitCode: 2, says })
  })
})

suite('an address that cannot be listened on', () => {
  test('because it is in use is refused', options, async () => {
    await using lines = await CommandLines.open()
    await using server = createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as { port: number }
    const place = `127.0.0.1:${port}`
    const data = lines.folder.at('data')
    const bootstrap = startBootstrap(['--json', '--listen', place, '--http', 'off', '--data', data])
    await refuses(lines.own(bootstrap), { code: 'port-in-use', exitCode: 1, says: [new RegExp(`${port}.*--listen`)] })
    const peer = startPeer(['--json', '--listen', place, '--memory'])
    await refuses(lines.own(peer), { code: 'port-in-use', exitCode: 1, says: [new RegExp(`${port}.*--listen`)] })
    const twice = lines.peer(['--listen', place])
    const says = [/--listen: received .* and .*, expected it once/]
    await refuses(twice, { code: 'options-invalid', exitCode: 2, says })
    const http = startBootstrap(['--json', '--listen', '127.0.0.1:0', '--http', place, '--data', data])
    await refuses(lines.own(http), { code: 'port-in-use', exitCode: 1, says: [new RegExp(`${port}`)] })
  })

  test('because it is of another machine is refused', options, async () => {
    await using lines = await CommandLines.open()
    const args = ['--json', '--listen', '192.0.2.1:4001', '--http', 'off', '--data', lines.folder.at('data')]
    const program = lines.own(startBootstrap(args))
    await refuses(program, { code: 'address-unavailable', exitCode: 1, says: [/192\.0\.2\.1/] })
  })
})

suite('a data folder that cannot be used', () => {
  test('because another process uses it is refused, and that one goes on', options, async () => {
    await using lines = await CommandLines.open()
    const { program, address } = await lines.bootstrap()
    const says = [new RegExp(`in use by process ${program.pid}`), /--data/]
    const second = ['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', lines.folder.at('bootstrap')]
    await refuses(lines.own(startBootstrap(second)), { code: 'data-locked', exitCode: 1, says })
    await refuses(lines.peer(['--data', lines.folder.at('bootstrap')]), { code: 'data-locked', exitCode: 1, says })
    const peer = lines.peer(['--bootstrap', address, '--memory'])
    await peer.event('ready')
  })

  test('because it lies below a file, or where nobody may write, is refused', options, async t => {
    await using lines = await CommandLines.open()
    await writeFile(lines.folder.at('file'), 'mine')
    await mkdir(lines.folder.at('locked'), { mode: 0o500 })
    const places = [lines.folder.at('file', 'data'), lines.folder.at('file')]
    if (process.platform === 'linux') places.push('/proc/muster')
    if (process.getuid?.() === 0) t.diagnostic('root: permission bits bind nobody')
    else places.push(lines.folder.at('locked', 'data'), lines.folder.at('locked'))
    for (const place of places) {
      const says = [/cannot be created or written \((ENOTDIR|EEXIST|EACCES|ENOENT|EPERM|EROFS)\)/, /--data/]
      await refuses(lines.peer(['--data', place]), { code: 'data-not-writable', exitCode: 1, says })
    }
    assert.equal(await readFile(lines.folder.at('file'), 'utf8'), 'mine')
  })
})

suite('damaged data is refused and left as it is:', () => {
  let sound: Awaited<ReturnType<typeof soundFolder>>
  before(async () => {
    sound = await soundFolder()
  })
  after(() => sound[Symbol.asyncDispose]())

  const damages: ReadonlyArray<{
    readonly what: string
    readonly code: 'data-corrupt' | 'identity-corrupt'
    readonly says: RegExp
    damage(folder: string): Promise<void>
  }> = [
    {
      what: 'garbage in the MANIFEST',
      code: 'data-corrupt',
      says: /MANIFEST-\d+ is damaged.*move it aside/,
      damage: async folder => await writeFile(await fileIn(`${folder}/level`, /^MANIFEST/), 'garbage'.repeat(20))
    },
    {
      what: 'CURRENT missing',
      code: 'data-corrupt',
      says: /CURRENT is missing/,
      damage: async folder => await rm(`${folder}/level/CURRENT`)
    },
    {
      what: 'MANIFEST missing',
      code: 'data-corrupt',
      says: /MANIFEST-\d+ is missing/,
      damage: async folder => await rm(await fileIn(`${folder}/level`, /^MANIFEST/))
    },
    {
      what: 'a bit flipped in what was written first',
      code: 'data-corrupt',
      says: /\d+\.(log|ldb|sst) is damaged/,
      damage: async folder => await flipBit(await fileIn(`${folder}/level`, /\.(log|ldb|sst)$/), 20)
    },
    {
      what: 'identity cut short',
      code: 'identity-corrupt',
      says: /identity\.key is damaged.*restore it from a copy/,
      damage: async folder =>
        await writeFile(`${folder}/identity.key`, (await readFile(`${folder}/identity.key`)).subarray(0, 40))
    },
    {
      what: 'identity empty',
      code: 'identity-corrupt',
      says: /identity\.key is damaged/,
      damage: async folder => await writeFile(`${folder}/identity.key`, '')
    },
    {
      what: 'identity with a bit flipped',
      code: 'identity-corrupt',
      says: /identity\.key is damaged/,
      damage: async folder => await flipBit(`${folder}/identity.key`, 50)
    },
    {
      what: 'identity missing beside its data',
      code: 'identity-corrupt',
      says: /identity\.key is missing.*restore the file/,
      damage: async folder => await rm(`${folder}/identity.key`)
    },
    ...(process.platform === 'win32'
      ? []
      : [
          {
            what: 'identity that others can read',
            code: 'identity-corrupt' as const,
            says: /can be read by others \(mode 0644\): run chmod 600/,
            damage: async (folder: string) => await chmod(`${folder}/identity.key`, 0o644)
          }
        ])
  ]
  for (const { what, code, says, damage } of damages) {
    test(what, options, async () => {
      await using lines = await CommandLines.open()
      const folder = lines.folder.at('data')
      await cp(sound.path, folder, { recursive: true })
      await damage(folder)
      const was = await contentOf(folder)
      const args = ['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', folder]
      await refuses(lines.own(startBootstrap(args)), { code, exitCode: 1, says: [says] })
      await refuses(lines.peer(['--data', folder]), { code, exitCode: 1, says: [says] })
      // A sound database may be tidied up by being opened; the file that is damaged never changes.
      const compared = code === 'data-corrupt' ? folder : `${folder}/identity.key`
      assert.deepEqual(under(compared, await contentOf(folder)), under(compared, was))
    })
  }

  test('and the way out that the message names works', options, async () => {
    await using lines = await CommandLines.open()
    const old = await lines.bootstrap()
    await old.program.stop()
    await rm(lines.folder.at('bootstrap', 'level'), { recursive: true })
    const young = await lines.bootstrap()
    assert.equal(young.peerId, old.peerId)
  })
})

function under(path: string, content: Readonly<Record<string, string>>): Array<[string, string]> {
  return Object.entries(content).filter(([file]) => file.startsWith(path))
}

/** The data folder of a bootstrap that has stopped, with rows in it. */
async function soundFolder(): Promise<{ readonly path: string } & AsyncDisposable> {
  const lines = await CommandLines.open()
  const { program, address } = await lines.bootstrap()
  const peer = lines.peer(['--bootstrap', address, '--memory'])
  await peer.event('ready')
  await peer.stop()
  await program.stop()
  return { path: lines.folder.at('bootstrap'), [Symbol.asyncDispose]: () => lines[Symbol.asyncDispose]() }
}

async function fileIn(folder: string, pattern: RegExp): Promise<string> {
  const name = (await readdir(folder)).sort().find(each => pattern.test(each))
  assert.ok(name !== undefined, `no ${pattern} in ${folder}`)
  return `${folder}/${name}`
}

async function flipBit(file: string, at: number): Promise<void> {
  await using handle = await open(file, 'r+')
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, at)
  buffer[0]! ^= 1
  await handle.write(buffer, 0, 1, at)
}
