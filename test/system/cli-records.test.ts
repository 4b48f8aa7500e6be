import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { test } from 'node:test'
import { CommandLines, refuses } from '../support/cli.ts'
import { type Program, type ProgramInit, startBootstrap, startPeer } from '../support/process.ts'

const options = { timeout: 240_000 }
/** Joining takes longer on a loaded machine than a user would wait. */
const PATIENT = ['--timeout', '60s']

interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly events: Program['events']
}

/** Runs a command to its end. */
async function result(program: Program, input?: string): Promise<Result> {
  if (input !== undefined) program.press(input)
  program.endInput()
  const { code } = await program.ends()
  const { stdout, stderr, events } = program
  return { code, stdout, stderr, events }
}

/** A network of one bootstrap, and commands in it. */
async function network() {
  const lines = await CommandLines.open()
  const { address, program } = await lines.bootstrap()
  const init: ProgramInit = { env: { ...lines.env, MUSTER_BOOTSTRAP: address } }
  const start = (...args: string[]): Program => lines.own(startPeer(args, init))
  const run = (args: readonly string[], input?: string): Promise<Result> => result(start(...args), input)
  const bootstrap = (args: readonly string[], input?: string): Promise<Result> =>
    result(lines.own(startBootstrap(args, init)), input)
  return { lines, address, program, start, run, bootstrap, [Symbol.asyncDispose]: () => lines[Symbol.asyncDispose]() }
}

test('put, get, delete and list join the network, do the job and leave', options, async () => {
  await using all = await network()
  const { run } = all

  const put = await run(['put', 'colour', '{"r": 255}', ...PATIENT])
  assert.equal(put.code, 0, put.stderr)
  assert.match(put.stdout, /^stored by 1 node, until /)
  assert.match(put.stderr, /^warning: only 1 node stored it/)

  // another identity reads it
  const got = await run(['get', 'colour', '--memory', ...PATIENT])
  assert.deepEqual([got.code, got.stdout, got.stderr], [0, '{"r":255}\n', ''])
  const json = await run(['get', 'colour', '--json', ...PATIENT])
  const [record] = json.events
  assert.equal(json.events.length, 1)
  assert.partialDeepStrictEqual(record, { event: 'record', key: 'colour', value: { r: 255 } })
  for (const field of ['author', 'sequence', 'expiresAt', 'holders']) assert.ok(record?.[field], field)

  const none = await run(['get', 'no such thing', ...PATIENT])
  assert.deepEqual([none.code, none.stdout], [3, ''])

  assert.equal((await run(['put', 'from stdin', '--string', ...PATIENT], '5\n')).code, 0)
  const list = await run(['list', '--json'])
  assert.deepEqual(list.events.map(({ event, key, value }) => [event, key, value]).sort(), [
    ['own-record', 'colour', { r: 255 }],
    ['own-record', 'from stdin', '5']
  ])

  const cid = (await run(['put', '--content', '--bytes', ...PATIENT], 'raw\n')).stdout.trim()
  assert.match(cid, /^bafkrei/)
  assert.equal((await run(['get', '--content', cid, ...PATIENT])).stdout, 'raw\n')

  assert.equal((await run(['delete', 'colour', ...PATIENT])).code, 0)
  assert.equal((await run(['get', 'colour', ...PATIENT])).code, 3)
})

test('commands say by their exit code why nothing came of them', options, async () => {
  await using all = await network()
  const { run, start } = all
  const nobody = await run(['get', 'k', '--bootstrap', '127.0.0.1:1', '--memory', '--json'])
  assert.equal(nobody.code, 4, nobody.stderr)
  assert.match(nobody.stderr, /no node answered within 5 s; tried 127\.0\.0\.1:1/)
  assert.deepEqual(
    nobody.events.map(({ event, code }) => [event, code]),
    [['error', 'unreachable']]
  )
  await refuses(start('get', 'k', 'l', '--json', '--timeout', 'soon'), {
    code: 'options-invalid',
    exitCode: 2,
    says: [/"l": expected KEY alone/, /--timeout: received "soon"/]
  })
  await refuses(start('gett', 'k', '--json'), {
    code: 'options-invalid',
    exitCode: 2,
    says: [/"gett": expected a flag that starts with --; did you mean get\?/]
  })
  const endless = start('put', 'k', '--json')
  endless.press('x'.repeat(20_000)) // and no end
  await refuses(endless, { code: 'too-large', exitCode: 1, says: [/more than the 8192 bytes/] })
})

test('a peer that runs on the data folder does it, and nobody else may ask it', options, async () => {
  await using all = await network()
  const { run, start, lines, bootstrap } = all
  const peer = start('--json', '--listen', '127.0.0.1:0', '--name', 'ana')
  const { peerId } = await peer.event('listening')
  await peer.event('ready')

  // without --bootstrap it could not join by itself
  const alone = ['--bootstrap', '127.0.0.1:1']
  const put = await run(['put', '--own', 'mine', 'one', '--verbose', ...alone])
  assert.equal(put.code, 0, put.stderr)
  assert.match(put.stderr, /asking the peer that runs on .*peer-1 \(process \d+\)/)
  const got = await run(['get', '--owner', String(peerId), 'mine', ...alone])
  assert.equal(got.stdout, 'one\n', got.stderr)

  const watch = start('watch', '--own', 'mine', '--json', ...alone)
  await watch.event('record', ({ value }) => value === 'one')
  peer.type('/put --own mine {"n": 2}')
  await peer.event('stored', ({ key }) => JSON.stringify(key) === JSON.stringify({ owner: peerId, name: 'mine' }))
  await watch.event('record', ({ value }) => JSON.stringify(value) === '{"n":2}')
  assert.equal((await run(['delete', '--own', 'mine', ...alone])).code, 0)
  await watch.event('record', ({ isDeleted }) => isDeleted === true)
  assert.deepEqual(await watch.stop('SIGINT'), { code: 0, signal: null })
  peer.type('/get --own mine')
  await peer.event('no-record')

  const file = lines.folder.at('share', 'muster', 'peer-1', 'local-api.json')
  const { url, token } = JSON.parse(await readFile(file, 'utf8')) as { url: string; token: string }
  const list = (headers: Record<string, string>): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const sent = request(`${url}/list`, { method: 'POST', agent: false, headers }, response => {
        response.resume()
        resolve(response.statusCode)
      })
      sent.on('error', reject).end('{}')
    })
  const authorization = `Bearer ${token}`
  assert.equal(await list({}), 401)
  assert.equal(await list({ authorization: `Bearer ${'0'.repeat(64)}` }), 401)
  assert.equal(await list({ authorization, host: 'evil.example' }), 403)
  assert.equal(await list({ authorization, origin: 'https://evil.example' }), 403)
  assert.equal(await list({ authorization }), 200)

  // the bootstrap serves no put
  const wrong = await run(['put', 'k', '1', '--data', lines.folder.at('bootstrap'), ...alone])
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /does not serve this/)
  assert.equal((await bootstrap(['export', '--data', lines.folder.at('bootstrap')])).code, 0)

  // what a crash leaves behind is ignored, and the file goes with a clean stop
  peer.signal('SIGKILL')
  await peer.ends()
  await readFile(file)
  const after = await run(['put', '--own', 'mine', 'three', ...PATIENT])
  assert.equal(after.code, 0, after.stderr)
  const again = start('--json', '--listen', '127.0.0.1:0')
  await again.event('listening')
  await again.stop()
  await assert.rejects(readFile(file), { code: 'ENOENT' })
})

test('what one bootstrap exports an empty one imports, and serves', options, async () => {
  await using all = await network()
  const { run, bootstrap, lines, program } = all
  const writer = lines.folder.at('writer')
  for (const [key, value] of [
    ['a', '1'],
    ['b', '"two"']
  ] as const) {
    assert.equal((await run(['put', key, value, '--data', writer, ...PATIENT])).code, 0)
  }
  assert.equal((await run(['put', '--own', 'c', '3', '--data', writer, ...PATIENT])).code, 0)

  const running = await bootstrap(['export', '--data', lines.folder.at('bootstrap')])
  assert.equal(running.code, 0, running.stderr)
  await program.stop()
  const stopped = await bootstrap(['export', '--data', lines.folder.at('bootstrap')])
  const sorted = (text: string): string[] => text.trim().split('\n').sort()
  assert.deepEqual(sorted(stopped.stdout), sorted(running.stdout))
  const records = sorted(stopped.stdout).map(line => JSON.parse(line) as Record<string, unknown>)
  assert.deepEqual(records.map(({ key }) => (typeof key === 'object' ? 'c' : key)).sort(), ['a', 'b', 'c'])
  for (const field of ['author', 'sequence', 'expires', 'envelope'])
    assert.ok(
      records.every(each => each[field]),
      field
    )
  const own = await run(['export', '--data', writer])
  assert.ok(sorted(own.stdout).every(line => (JSON.parse(line) as { own?: boolean }).own === true))

  // into a folder without a node, with lines that are none
  const lineOfA = records.find(({ key }) => key === 'a') as { envelope: string }
  const bytes = Buffer.from(lineOfA.envelope, 'base64')
  bytes[bytes.length - 1]! ^= 1
  const forged = JSON.stringify({ ...lineOfA, envelope: bytes.toString('base64') })
  const second = lines.folder.at('second')
  const bad = await bootstrap(['import', '--data', second, '--json'], `nonsense\n\n${forged}\n`)
  assert.equal(bad.code, 1)
  assert.match(bad.stderr, /^line 1: no JSON object with an envelope in base64\nline 3: its signature does not hold\n/)
  assert.partialDeepStrictEqual(bad.events.at(-1), { event: 'imported', taken: 0, older: 0, refused: 2 })
  const first = await bootstrap(['import', '--data', second], stopped.stdout)
  assert.deepEqual([first.code, first.stdout], [0, '3 records taken, 0 older than what is here, 0 refused\n'])

  const fresh = lines.own(startBootstrap(['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', second]))
  const { addresses } = await fresh.event('listening')
  const address = (addresses as string[])[0]!
  const got = await run(['get', 'b', '--memory', '--bootstrap', address, ...PATIENT])
  assert.deepEqual([got.code, got.stdout], [0, 'two\n'], got.stderr)

  // a newer version is there already; through the running node
  const newer = ['put', 'a', '10', '--data', writer, '--bootstrap', address, ...PATIENT]
  assert.equal((await run(newer)).code, 0)
  const older = await bootstrap(['import', '--data', second, '--json'], stopped.stdout)
  assert.equal(older.code, 0, older.stderr)
  assert.partialDeepStrictEqual(older.events.at(-1), { event: 'imported', taken: 2, older: 1, refused: 0 })

  const forgedAgain = await bootstrap(['import', '--data', second], `${forged}\n`)
  assert.deepEqual([forgedAgain.code, forgedAgain.stderr], [1, 'line 1: its signature does not hold\n'])

  const nowhere = await bootstrap(['export', '--data', lines.folder.at('nowhere')])
  assert.equal(nowhere.code, 2)
})
