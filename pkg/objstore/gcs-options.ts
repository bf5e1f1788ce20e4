/** How a bucket of Google Cloud Storage is reached and written. */
export interface GcsOptions {
  bucket: string;
  /** URL of the server; empty: Google's. */
  endpoint: string;
  /** Empty: that of the credentials. */
  projectId: string;
  /** Path of a service account's key; empty: the default credentials. */
  keyFile: string;
  /** Sends no credentials: for emulators. */
  anonymous: boolean;
  /** Of objects that `put` writes; empty: the bucket's. */
  storageClass: string;
  /** Key of Cloud KMS to encrypt with; empty: the bucket's. */
  kmsKeyName: string;
  /** Metadata that every object is written with. */
  tags: Readonly<Record<string, string>>;
  /** Objects above this many bytes go up by a resumable upload in parts of this size. */
  partBytes: number;
}
