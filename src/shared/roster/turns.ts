/** At most `count` jobs at once; those who wait are served in turns, so that nobody's thousand jobs delay another's one. */
export class Turns {
  #free: number
  /** Per owner, in the order they are to be served. */
  readonly #waiting = new Map<string, Array<() => Promise<void>>>()

  constructor(count: number) {
    this.#free = count
  }

  /** Runs a job, which must not reject, when its owner's turn comes. */
  add(owner: string, job: () => Promise<void>): void {
    const jobs = this.#waiting.get(owner) ?? []
    this.#waiting.set(owner, jobs)
    jobs.push(job)
    if (this.#free > 0) this.#next()
  }

  #next(): void {
    const [first] = this.#waiting
    if (first === undefined) return
    const [owner, jobs] = first
    const job = jobs.shift()
    this.#waiting.delete(owner)
    if (jobs.length > 0) this.#waiting.set(owner, jobs) // to the end of the row
    if (job === undefined) return
    this.#free--
    void job().finally(() => {
      this.#free++
      this.#next()
    })
  }
}
