import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestOptions, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { findLocalApi } from '../../src/peer/cli/local-client.ts'
import type { LocalPlace } from '../../src/peer/cli/local-file.ts'
import { MAX_LOCAL_BODY_BYTES } from '../../src/peer/cli/local-limits.ts'
import { recordHandlers, remoteRecords } from '../../src/peer/cli/local-records.ts'
import { type LocalHandlers, serveLocally } from '../../src/peer/cli/local-server.ts'
import { isMusterError, MusterError } from '../../src/shared/core/errors.ts'
import { eventually } from '../support/eventually.ts'
import { TemporaryFolder } from '../support/process.ts'
import { FakeRecords, SELF } from './cli-fakes.ts'

const never = new AbortController().signal

const HANDLERS: LocalHandlers = {
  async *echo(asked) {
    yield asked
  },
  async *fail() {
    yield { first: 1 }
    throw new MusterError('too-large', 'so it is')
  }
}

async function serving(handlers: LocalHandlers = HANDLERS) {
  const scope = new AsyncDisposableStack()
  const folder = scope.use(await TemporaryFolder.create())
  const api = scope.use(await serveLocally(folder.path, 'lab', handlers))
  const file = folder.at('local-api.json')
  const place = JSON.parse(await readFile(file, 'utf8')) as LocalPlace
  return { folder, api, file, place, [Symbol.asyncDispose]: () => scope.disposeAsync() }
}

/** A raw request; resolves with status and text. */
async function ask(url: string, options: RequestOptions, body = '{}'): Promise<{ code: number; text: string }> {
  const sent = request(url, { method: 'POST', agent: false, ...options })
  sent.on('error', () => undefined) // it may be cut off while it still sends
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { code: response.statusCode ?? 0, text }
}

describe('the local API', () => {
  it('says where it is in a file for its owner alone, and takes that back', async () => {
    await using all = await serving()
    const { file, place, api, folder } = all
    if (process.platform !== 'win32') assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.match(place.url, /^http:\/\/127\.0\.0\.1:\d+$/)
    assert.match(place.token, /^[\da-f]{64}$/)
    assert.deepEqual([place.network, place.pid], ['lab', process.pid])
    const client = await findLocalApi(folder.path, never)
    assert.equal(client?.network, 'lab')
    await api.close()
    assert.deepEqual(await readdir(folder.path), [])
    assert.equal(await findLocalApi(folder.path, never), undefined)
  })

  it('refuses who has no token, or a wrong one', async () => {
    await using all = await serving()
    const { url, token } = all.place
    for (const authorization of [undefined, '', token, `Bearer ${token}0`, `Bearer ${token.slice(1)}`, 'Bearer ']) {
      const headers = authorization === undefined ? {} : { authorization }
      assert.equal((await ask(`${url}/echo`, { headers })).code, 401, `${authorization}`)
    }
    const good = await ask(`${url}/echo`, { headers: { authorization: `Bearer ${token}` } }, '{"a":1}')
    assert.deepEqual(good, { code: 200, text: '{"a":1}\n' })
  })

  it('refuses names and pages that are not this machine’s, even with the token', async () => {
    await using all = await serving()
    const { url, token } = all.place
    const authorization = `Bearer ${token}`
    const { port } = new URL(url)
    for (const [headers, code] of [
      [{ host: `evil.example:${port}` }, 403],
      [{ host: `127.0.0.1.evil.example:${port}` }, 403],
      [{ host: `192.168.1.2:${port}` }, 403],
      [{ origin: 'https://evil.example' }, 403],
      [{ origin: 'null' }, 403],
      [{ origin: `http://localhost.evil.example:${port}` }, 403],
      [{ host: `LOCALHOST:${port}` }, 200],
      [{ host: `[::1]:${port}`, origin: `http://127.0.0.1:${port}` }, 200]
    ] as const) {
      const { code: received } = await ask(`${url}/echo`, { headers: { authorization, ...headers } })
      assert.equal(received, code, JSON.stringify(headers))
      const hello = await ask(`${url}/hello`, { headers }, '{"nonce":"1"}')
      assert.equal(hello.code, code, JSON.stringify(headers))
    }
  })

  it('takes posted JSON objects up to its limit, for commands that there are', async () => {
    await using all = await serving()
    const { url, token } = all.place
    const headers = { authorization: `Bearer ${token}` }
    assert.equal((await ask(`${url}/echo`, { headers, method: 'PUT' })).code, 405)
    for (const path of ['nothing', 'constructor', '', 'echo/more', 'echo?a=1']) {
      assert.equal((await ask(`${url}/${path}`, { headers })).code, 404, path)
    }
    for (const body of ['', '[]', 'null', '"a"', '{']) {
      assert.equal((await ask(`${url}/echo`, { headers }, body)).code, 400, body)
    }
    const long = JSON.stringify({ a: 'x'.repeat(MAX_LOCAL_BODY_BYTES) })
    assert.equal((await ask(`${url}/echo`, { headers }, long)).code, 413)
    const chunked = await ask(`${url}/echo`, { headers: { ...headers, 'transfer-encoding': 'chunked' } }, long)
    assert.equal(chunked.code, 413)
  })

  it('proves itself to a hello with a text alone, and outlives others', async () => {
    await using all = await serving()
    for (const body of ['{}', '{"nonce":1}', '{"nonce":null}', '{"nonce":{"toString":1}}', '{"nonce":[[]]}']) {
      assert.equal((await ask(`${all.place.url}/hello`, {}, body)).code, 400, body)
    }
    assert.equal((await ask(`${all.place.url}/hello`, {}, '{"nonce":"1"}')).code, 200)
  })

  it('brings errors with their code, behind what came before', async () => {
    await using all = await serving()
    const client = await findLocalApi(all.folder.path, never)
    const lines: unknown[] = []
    await assert.rejects(
      async () => {
        for await (const line of client!.call('fail', {}, never)) lines.push(line)
      },
      (thrown: unknown) => isMusterError(thrown, 'too-large') && thrown.message === 'so it is'
    )
    assert.deepEqual(lines, [{ first: 1 }])
    await assert.rejects(client!.call('nothing', {}, never)[Symbol.asyncIterator]().next(), { code: 'refused' })
  })

  it('ends what nobody listens to any more, and who asks when it closes', async () => {
    const ended: string[] = []
    await using all = await serving({
      async *wait(_asked, signal) {
        yield {}
        await once(signal, 'abort')
        ended.push('wait')
      }
    })
    const client = await findLocalApi(all.folder.path, never)
    for await (const _ of client!.call('wait', {}, never)) break
    await eventually('the handler hears that its client is gone', () => ended.length === 1)
    const controller = new AbortController()
    const cancelled = client!.call('wait', {}, controller.signal)[Symbol.asyncIterator]()
    await cancelled.next()
    controller.abort(new MusterError('aborted'))
    await assert.rejects(cancelled.next(), { code: 'aborted' })
    const cut = client!.call('wait', {}, never)[Symbol.asyncIterator]()
    await cut.next()
    await all.api.close()
    await assert.rejects(cut.next(), { code: 'closed', message: 'the running node went away' })
  })
})

describe('a file that a crash left behind', () => {
  it('is ignored when nobody listens there, or it is no such file', async () => {
    await using folder = await TemporaryFolder.create()
    const file = folder.at('local-api.json')
    const place = { url: 'http://127.0.0.1:1', token: 'a'.repeat(64), pid: 1, network: 'lab' }
    for (const text of [
      JSON.stringify(place),
      '',
      '{',
      'null',
      '[]',
      '{}',
      JSON.stringify({ ...place, url: 'http://evil.example:1' }),
      JSON.stringify({ ...place, url: 'http://127.0.0.1:1@evil.example' }),
      JSON.stringify({ ...place, more: 'x'.repeat(5_000) })
    ]) {
      await writeFile(file, text)
      assert.equal(await findLocalApi(folder.path, never), undefined, text)
    }
    assert.equal(await findLocalApi(folder.at('nowhere'), never), undefined)
  })

  it('is ignored, and the token kept, when somebody else listens there', async () => {
    await using folder = await TemporaryFolder.create()
    let heard = ''
    const stranger = createServer((asked, response) => {
      heard += JSON.stringify(asked.headers)
      asked.on('data', chunk => {
        heard += String(chunk)
      })
      response.end(`${JSON.stringify({ proof: 'a'.repeat(64) })}\n`)
    })
    stranger.listen(0, '127.0.0.1')
    await once(stranger, 'listening')
    const { port } = stranger.address() as AddressInfo
    const token = 'b'.repeat(64)
    const place = { url: `http://127.0.0.1:${port}`, token, pid: 1, network: 'lab' }
    await writeFile(folder.at('local-api.json'), JSON.stringify(place))
    assert.equal(await findLocalApi(folder.path, never), undefined)
    stranger.close()
    assert.ok(heard.includes('nonce') && !heard.includes(token))
  })

  it('is replaced by the next node', async () => {
    await using folder = await TemporaryFolder.create()
    await writeFile(folder.at('local-api.json'), 'old', { mode: 0o644 })
    await writeFile(folder.at('local-api.json.new'), 'half', { mode: 0o644 })
    await using _api = await serveLocally(folder.path, 'lab', HANDLERS)
    assert.deepEqual(await readdir(folder.path), ['local-api.json'])
    if (process.platform !== 'win32') assert.equal((await stat(folder.at('local-api.json'))).mode & 0o777, 0o600)
  })

  it('cannot be written where the folder is gone', async () => {
    await using folder = await TemporaryFolder.create()
    await mkdir(folder.at('x'))
    await assert.rejects(serveLocally(folder.at('y'), 'lab', HANDLERS), { code: 'data-not-writable' })
  })
})

describe('records of a running peer', () => {
  it('are as if they were ours', async () => {
    const records = new FakeRecords(SELF)
    await using all = await serving(recordHandlers(records))
    const remote = remoteRecords((await findLocalApi(all.folder.path, never))!)
    assert.equal(await remote.get('k'), undefined)
    const put = await remote.put('k', { a: 1 }, { validityMs: 300_000, renew: true, timeoutMs: 5_000 })
    assert.deepEqual(put, { ...records.versions.get('"k"'), stored: 5, isQuorum: true })
    assert.partialDeepStrictEqual(records.asked.at(-1)?.[3], { validityMs: 300_000, renew: true, timeoutMs: 5_000 })
    assert.deepEqual(await remote.get('k', { quorum: 2 }), { ...records.versions.get('"k"'), holders: 3, answers: 4 })
    assert.partialDeepStrictEqual(records.asked.at(-1)?.[2], { quorum: 2 })
    await remote.put({ name: 'raw' }, Uint8Array.of(0, 255))
    assert.deepEqual((await remote.get({ name: 'raw' }))?.value, Uint8Array.of(0, 255))
    await remote.put('nothing', null)
    assert.equal((await remote.get('nothing'))?.value, null)
    assert.deepEqual(await remote.list(), await records.list())
    assert.equal((await remote.delete('k')).value, undefined)
    assert.equal(await remote.get('k'), undefined)
    assert.deepEqual((await remote.put(null, 'x')).key, { content: 'bafkreifake' })
    records.failure = new MusterError('unreachable', 'nobody there')
    await assert.rejects(remote.put('k', 1), { code: 'unreachable', message: 'nobody there' })
  })

  it('can be watched', async () => {
    const records = new FakeRecords(SELF)
    await using all = await serving(recordHandlers(records))
    const remote = remoteRecords((await findLocalApi(all.folder.path, never))!)
    const controller = new AbortController()
    const seen: unknown[] = []
    const watching = (async () => {
      for await (const { value } of remote.watch('k', { signal: controller.signal })) seen.push(value)
    })()
    await eventually('the peer is asked', () => records.asked.length === 1)
    await records.put('k', 1)
    await records.delete('k')
    await eventually('both are seen', () => seen.length === 2)
    assert.deepEqual(seen, [1, undefined])
    controller.abort()
    await watching
  })
})
