import { writeFile } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'

/** Microseconds between two samples. */
const SAMPLING_US = 200

/** Takes a CPU profile of this process until the returned function is called, which writes it down. */
export async function startProfile(): Promise<(file: string) => Promise<void>> {
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_US })
  await session.post('Profiler.start')
  return async file => {
    const { profile } = await session.post('Profiler.stop')
    session.disconnect()
    await writeFile(file, JSON.stringify(profile))
  }
}
