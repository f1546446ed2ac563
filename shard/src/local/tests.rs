//! Replies to the byte, subject by subject. What they should be was read off redis-server 7.0.15 and, where 7.2
//! differs, its source.

mod client;
mod config;
mod connection;
mod debug;
mod function;
mod info;
mod observe;
mod operate;
mod replicate;
