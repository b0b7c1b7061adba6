export interface ServerSettings {
  readonly token: string
  readonly nats: { readonly url: string; readonly user: string; readonly password: string }
}

/** Base URLs. */
export interface ServerAddresses {
  readonly http1: string
  readonly http2: string
}
