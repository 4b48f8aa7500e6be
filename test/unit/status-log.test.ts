import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

const source = new URL('../../src/shared/status/log.server.ts', import.meta.url).href

/** Logs in a process of its own, which exits right after; what came out on its two outputs. */
function logged(level: string, body: string): { lines: Array<Record<string, unknown>>; stdout: string } {
  const script = `const { createLog } = await import('${source}')
    const log = createLog({ level: '${level}', name: 'peer' })
    ${body}
    process.exit(0)`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8'
  })
  assert.equal(status, 0, stderr)
  const lines = stderr.split('\n').filter(line => line !== '')
  return { lines: lines.map(line => JSON.parse(line)), stdout }
}

test('a line is an event with fields, on stderr, and survives an exit right after it', () => {
  const { lines, stdout } = logged('info', `log.info({ port: 8468 }, 'listening')`)
  assert.equal(stdout, '')
  assert.equal(lines.length, 1)
  const { time, ...rest } = lines[0] as { time: string }
  assert.equal(new Date(time).toISOString(), time)
  assert.deepEqual(rest, { level: 'info', name: 'peer', port: 8468, event: 'listening' })
})

test('what is below the level is not written', () => {
  const { lines } = logged(
    'warn',
    `log.debug({}, 'a'); log.info({}, 'b'); log.warn({}, 'c'); log.error({ error: new Error('broken') }, 'd')`
  )
  assert.deepEqual(
    lines.map(({ level, event }) => [level, event]),
    [
      ['warn', 'c'],
      ['error', 'd']
    ]
  )
  assert.match(JSON.stringify(lines[1]?.error), /"stack":"Error: broken/)
})

test('a silent log is silent', () => {
  assert.deepEqual(logged('silent', `log.error({}, 'unheard')`).lines, [])
})
