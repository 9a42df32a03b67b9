//! Upload: encrypt, encode, place, send, and say so only once enough servers have made their shares durable.
//!
//! A file is read twice: once to find its key (the same file always gets the same one, so that it is stored once and an interrupted
//! upload finds its partial shares again), once to encode. Each segment of the second pass must match the hash the first pass kept;
//! what does not match is never sent. A stream is read once, under a random key.

mod batcher;
mod catalogue;
mod error;
mod feed;
mod offer;
mod send;
mod small;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use caps::{Cap, ImmutableRead, Literal, MAX_LITERAL_LEN};
use encoding::{
    ContentKey, EncodedObject, EncodedSegment, ErasureDecoder, Kind, ObjectBuilder, ObjectId, Params,
};
use protocol::NodeId;
use protocol::message::{Bytes16, LeaseTerms};

pub(crate) use batcher::SmallShares;
pub use error::{ShareFailure, UploadError};
pub(crate) use small::SmallEncoders;
pub use source::{BytesSource, FileSource, ReadAt, Source};

use crate::Client;
use crate::grid::Server;
use crate::placement::happiness;
use crate::progress::Transfer;
use catalogue::Proofs;
use feed::{EncoderShelf, Feed, FileOrigin};
use send::Sending;

/// How often a file that changes while it is read is started over.
const RESTARTS: usize = 3;

/// How a file shall be stored.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// Watches and limits the transfer.
    pub transfer: Transfer,
}

/// What became of an upload.
#[derive(Clone, Debug)]
pub struct PutReport {
    /// The read cap.
    pub cap: Cap,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of shares that were sent.
    pub sent: u64,
    /// Where each share is.
    pub shares: BTreeMap<u16, Server>,
    /// Shares that were there already, of these.
    pub found: BTreeSet<u16>,
    /// How many servers hold a share of their own.
    pub happiness: usize,
    /// What went wrong on the way and was made up for.
    pub failures: Vec<ShareFailure>,
}

/// Everything the parts of one upload share.
pub(crate) struct Upload {
    client: Client,
    params: Params,
    id: ObjectId,
    key: ContentKey,
    upload_id: Bytes16,
    lease: LeaseTerms,
    /// Bytes of the file, where known from the start.
    size: Option<u64>,
    /// The finished object, where it is known before anything is sent, and what proves that a server holds a share of it.
    known: OnceLock<(EncodedObject, Proofs)>,
    encoders: EncoderShelf,
    transfer: Transfer,
}

impl Client {
    /// Stores a file and returns its read cap once at least `shares_happy` servers have made shares of it durable.
    ///
    /// # Errors
    ///
    /// [`UploadError`]; the shares that were sent so far stay on their servers, and putting the same file again goes on from there.
    pub async fn put(&self, source: Source, options: PutOptions) -> Result<PutReport, UploadError> {
        match source {
            Source::File(file) => {
                for _ in 0..RESTARTS {
                    match self.put_file(file.clone(), &options).await {
                        Err(UploadError::SourceChanged) => options.transfer.restart(),
                        done => return done,
                    }
                }
                Err(UploadError::SourceChanged)
            }
            Source::Stream(stream) => self.put_stream(stream, &options).await,
        }
    }

    async fn put_file(&self, file: Arc<dyn ReadAt>, options: &PutOptions) -> Result<PutReport, UploadError> {
        let size = file.len().map_err(UploadError::Source)?;
        options.transfer.expect(size);
        let params = self.params();
        if size <= MAX_LITERAL_LEN as u64 {
            let mut bytes = vec![0; size as usize];
            file.read_exact_at(0, &mut bytes).map_err(UploadError::Source)?;
            return Ok(literal(bytes, &options.transfer));
        }
        if small::is_small(params, size) {
            return self.put_small_file(file, size, &options.transfer).await;
        }
        let prints = source::fingerprint(&self.pool(), &file, size, params).await?;
        let id = ObjectId::convergent(self.convergence_secret(), params, Kind::Direct, size, &prints.whole);
        let upload_id = Bytes16(self.upload_id(&id));
        let upload = Arc::new(self.upload(params, id, upload_id, options, Some(size)));
        let origin = FileOrigin::new(file, size, prints);
        if let Some(known) = catalogue::known_object(&upload, origin.clone()).await? {
            let _ = upload.known.set(known);
        }
        upload.run(Feed::file(origin)).await
    }

    async fn put_stream(
        &self,
        mut stream: source::Reader,
        options: &PutOptions,
    ) -> Result<PutReport, UploadError> {
        let params = self.params();
        // One byte more than a small object tells whether there are more.
        let most = small::small_at_most(params) + 1;
        let head = source::read_up_to(&mut stream, most).await.map_err(UploadError::Source)?;
        if head.len() <= MAX_LITERAL_LEN {
            return Ok(literal(head.to_vec(), &options.transfer));
        }
        if head.len() < most && small::is_small(params, head.len() as u64) {
            return self.put_small_stream(head.freeze(), &options.transfer).await;
        }
        let id = ObjectId::random(self.random().bytes());
        let upload = Arc::new(self.upload(params, id, Bytes16(self.random().bytes()), options, None));
        upload.run(Feed::stream(head, stream)).await
    }

    fn upload(
        &self,
        params: Params,
        id: ObjectId,
        upload_id: Bytes16,
        options: &PutOptions,
        size: Option<u64>,
    ) -> Upload {
        let lease = LeaseTerms { tag: Bytes16(lease_tag(&id)), duration_s: None };
        Upload {
            client: self.clone(),
            params,
            key: ContentKey::new(&id),
            id,
            upload_id,
            lease,
            size,
            known: OnceLock::new(),
            encoders: EncoderShelf::new(params),
            transfer: options.transfer.clone(),
        }
    }

    /// The id under which servers keep the partial shares of this object for this client: the same again after a crash, and
    /// unknown to all who lack the convergence secret.
    fn upload_id(&self, id: &ObjectId) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(self.convergence_secret());
        hasher.update(b"sarsen v1 upload id\n").update(id.key.expose()).update(&id.salt);
        first_16(hasher.finalize())
    }
}

/// Whether the last k blocks of a segment give its data blocks back.
fn survives(decoder: &mut ErasureDecoder, params: Params, segment: &EncodedSegment) -> bool {
    let (needed, total) = (params.needed(), params.total());
    let tail = (total - needed..total).map(|number| (number, &segment.blocks[usize::from(number)][..]));
    let decoded = decoder.missing_data(&tail.collect::<Vec<_>>());
    let same = |number: u16, block: Vec<u8>| block == segment.blocks[usize::from(number)];
    decoded.is_ok_and(|blocks| blocks.into_iter().all(|(number, block)| same(number, block)))
}

/// The tag of the lease that belongs to this object by itself, as against one that a tree holds on it.
fn lease_tag(id: &ObjectId) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("sarsen v1 lease tag");
    hasher.update(id.key.expose()).update(&id.salt);
    first_16(hasher.finalize())
}

fn first_16(hash: blake3::Hash) -> [u8; 16] {
    let (head, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    *head
}

fn literal(bytes: Vec<u8>, transfer: &Transfer) -> PutReport {
    let size = bytes.len() as u64;
    transfer.expect(size);
    transfer.advance(size);
    let cap = Cap::Literal(Literal { bytes, directory: false });
    PutReport {
        cap,
        size,
        sent: 0,
        shares: BTreeMap::new(),
        found: BTreeSet::new(),
        happiness: 0,
        failures: Vec::new(),
    }
}

impl Upload {
    async fn run(self: Arc<Self>, mut feed: Feed) -> Result<PutReport, UploadError> {
        let upload = self;
        let mut sending = Sending::place(&upload, feed.origin()).await?;
        if sending.all_found() {
            // Every share is there already: nothing is read again and nothing is sent.
            let (object, _) = upload.known.get().expect("shares are found only where the object is known");
            upload.transfer.advance(object.descriptor.geometry.plaintext_len());
            return upload.report(object, sending);
        }
        let mut builder = ObjectBuilder::new(upload.params, Kind::Direct, &upload.id);
        while let Some(segment) = feed.next(&upload).await? {
            builder.add(&segment.encoded)?;
            upload.sample(&segment.encoded).await?;
            upload
                .transfer
                .throttle(segment.encoded.blocks.iter().map(|block| block.len() as u64).sum())
                .await;
            sending.block(&segment.encoded).await?;
            upload.transfer.advance(segment.plaintext_len);
        }
        let (size, hash) = feed.totals();
        let object = builder.finish(size, &hash)?;
        sending.finish(&object).await?;
        upload.report(&object, sending)
    }

    /// Decodes a sample of segments from their last k blocks, so that a flipped bit in memory is found before success is reported.
    async fn sample(self: &Arc<Self>, segment: &EncodedSegment) -> Result<(), UploadError> {
        if !(segment.index.is_power_of_two() || segment.index.is_multiple_of(64)) {
            return Ok(());
        }
        let (segment, upload) = (segment.clone(), self.clone());
        let check = move || survives(&mut upload.encoders.decoder(), upload.params, &segment);
        if self.client.pool().run(check).await { Ok(()) } else { Err(UploadError::SelfCheck) }
    }

    fn report(&self, object: &EncodedObject, sending: Sending) -> Result<PutReport, UploadError> {
        let durable = sending.durable();
        let holdings: BTreeMap<u16, BTreeSet<NodeId>> =
            durable.iter().map(|(number, server)| (*number, BTreeSet::from([*server]))).collect();
        let happiness = happiness(&holdings);
        let wanted = self.client.shares_happy();
        let (found, sent, failures) = sending.into_outcome();
        if happiness < wanted {
            return Err(UploadError::NotHappy { happiness, wanted, failures });
        }
        let params = self.params;
        let geometry = object.descriptor.geometry;
        let cap = Cap::ImmutableRead(ImmutableRead {
            key: self.id.key.clone(),
            hash: object.hash,
            needed: params.needed(),
            total: params.total(),
            size: geometry.plaintext_len(),
            directory: false,
        });
        let shares = durable.iter().map(|(number, id)| (*number, self.client.grid().server(id))).collect();
        Ok(PutReport { cap, size: geometry.plaintext_len(), sent, shares, found, happiness, failures })
    }
}
