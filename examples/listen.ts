// Where an example listens: HOST (127.0.0.1), PORT (3000).
export function whereToListen ({ HOST, PORT }: Record<string, string | undefined>) {
  return { host: HOST || '127.0.0.1', port: Number(PORT || 3000) }
}
