import assert from 'node:assert/strict'
import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { lockFolder } from '../../../src/shared/store/lock.server.ts'
import { LOCK_SCRIPT, startProcess, temporaryFolder } from './folders.ts'

describe('lockFolder', { timeout: 60_000 }, () => {
  it('refuses a folder that another process has, and names its pid', async () => {
    await using folder = await temporaryFolder()
    await using holder = startProcess(LOCK_SCRIPT, folder.path)
    assert.equal(await holder.line(), 'locked')
    const refusal = { code: 'data-locked', message: new RegExp(`in use by process ${holder.pid}: `) }
    await assert.rejects(lockFolder(folder.path), refusal)
    await assert.rejects(lockFolder(folder.path), refusal, 'and asking did not break the lock')
  })

  it('is free again when the holder closes it or ends', async () => {
    await using folder = await temporaryFolder()
    await using holder = startProcess(LOCK_SCRIPT, folder.path)
    assert.equal(await holder.line(), 'locked')
    await holder.end()
    const lock = await lockFolder(folder.path)
    await lock.close()
    await lock.close()
    await using _again = await lockFolder(folder.path)
  })

  it('is free again after kill -9 of the holder', async () => {
    await using folder = await temporaryFolder()
    await using holder = startProcess(LOCK_SCRIPT, folder.path)
    assert.equal(await holder.line(), 'locked')
    await holder.kill()
    await using _lock = await lockFolder(folder.path)
  })

  it('does not believe a note left by a dead process, even when its pid is ours, as pid 1 in a container', async () => {
    await using folder = await temporaryFolder()
    await using holder = startProcess(LOCK_SCRIPT, folder.path)
    assert.equal(await holder.line(), 'locked')
    await holder.kill()
    await writeFile(join(folder.path, 'lock-holder'), JSON.stringify({ pid: process.pid, host: hostname() }))
    await using _lock = await lockFolder(folder.path)
  })

  it('refuses the same process a second time, also by another path, and keeps the lock against others', async () => {
    await using folder = await temporaryFolder()
    const data = join(folder.path, 'data')
    await mkdir(data)
    await symlink(data, join(folder.path, 'link'))
    await using _lock = await lockFolder(data)
    await assert.rejects(lockFolder(data), { code: 'data-locked', message: /in use by this process/ })
    await assert.rejects(lockFolder(join(folder.path, 'link')), { code: 'data-locked' })
    await using other = startProcess(LOCK_SCRIPT, data)
    assert.match(await other.line(), /^data-locked /)
  })

  it('refuses a thread of the same process, and keeps the lock against others', async () => {
    await using folder = await temporaryFolder()
    await using _lock = await lockFolder(folder.path)
    const source = new URL('../../../src/shared/store/lock.server.ts', import.meta.url).href
    const worker = new Worker(
      `import(${JSON.stringify(source)}).then(({ lockFolder }) => lockFolder(${JSON.stringify(folder.path)}))
        .then(() => 'locked', error => error.code).then(answer => require('node:worker_threads').parentPort.postMessage(answer))`,
      { eval: true }
    )
    assert.equal(await new Promise(resolve => worker.once('message', resolve)), 'data-locked')
    await worker.terminate()
    await using other = startProcess(LOCK_SCRIPT, folder.path)
    assert.match(await other.line(), /^data-locked /)
  })

  it('lets exactly one of several processes that start together have a new folder', async () => {
    await using folder = await temporaryFolder()
    const data = join(folder.path, 'new')
    await using a = startProcess(LOCK_SCRIPT, data)
    await using b = startProcess(LOCK_SCRIPT, data)
    await using c = startProcess(LOCK_SCRIPT, data)
    const answers = await Promise.all([a.line(), b.line(), c.line()])
    assert.equal(answers.filter(answer => answer === 'locked').length, 1, answers.join('\n'))
    assert.equal(answers.filter(answer => answer.startsWith('data-locked ')).length, 2, answers.join('\n'))
  })

  it('creates the folder for its owner alone, and leaves nothing in it but an empty file', async () => {
    await using folder = await temporaryFolder()
    const data = join(folder.path, 'a', 'b')
    const lock = await lockFolder(data)
    if (process.platform !== 'win32') assert.equal((await stat(data)).mode & 0o777, 0o700)
    await lock.close()
    assert.deepEqual(await readdir(data), ['lock'])
    assert.equal((await stat(join(data, 'lock'))).size, 0)
  })

  it('says that a folder cannot be created or written', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'file')
    await writeFile(file, '')
    await assert.rejects(lockFolder(file), { code: 'data-not-writable' })
    await assert.rejects(lockFolder(join(file, 'below')), { code: 'data-not-writable', message: /ENOTDIR.*--data/ })
    if (process.platform === 'linux') await assert.rejects(lockFolder('/proc/muster'), { code: 'data-not-writable' })
  })

  it('does not write to a file of that name which is not its own', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'lock'), 'somebody else’s text '.repeat(100))
    await assert.rejects(lockFolder(folder.path), { code: 'data-corrupt', message: /delete the file/ })
    assert.ok((await stat(join(folder.path, 'lock'))).size > 2000)
  })
})
